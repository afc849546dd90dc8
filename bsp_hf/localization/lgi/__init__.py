"""LGI: sentences by local-global interactions."""
