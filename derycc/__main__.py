"""Runs the command line: `python -m derycc`."""

from derycc.cli import main

if __name__ == "__main__":
    main()
