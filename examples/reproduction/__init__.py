"""Parts of `examples/reproduce.py`: what is run, what is recorded, and the tables of the paper."""
