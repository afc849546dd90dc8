"""G-TAD: actions as sub-graphs."""
