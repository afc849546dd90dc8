"""Synthesized clips as data sets of `datasets`, as folders and as pictures."""
