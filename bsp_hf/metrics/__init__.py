"""Segments and ground truth in, numbers out: the official protocols in pure numpy."""
