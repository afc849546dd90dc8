"""Runs the command line as `python -m bsp_hf`."""

from bsp_hf_command import main

if __name__ == "__main__":
    main()
