"""Shared by the networks that localize sentences: samples, queries, word vectors, training."""
