"""Runs the command line as `python -m bsp_hf.cli`."""

from . import main

if __name__ == "__main__":
    main()
