"""The entry of the command line: an interrupt is one line, also while its parts are imported."""

import sys

INTERRUPTED = "Interrupted. Whatever was measured is kept: the same command goes on from there."


def main() -> None:
    """Runs the command that the process's arguments name."""
    try:
        from derycc.app import app
    except KeyboardInterrupt:
        print(f"derycc: {INTERRUPTED}", file=sys.stderr)
        sys.exit(130)
    app()
