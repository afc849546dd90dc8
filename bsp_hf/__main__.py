"""Runs the command line as `python -m bsp_hf`."""

from .cli import main

if __name__ == "__main__":
    main()
