"""The face of derycc: its public functions and its command line.

Importing it takes milliseconds; frameworks are imported by the functions that need them.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derycc.runtime import Session

__version__ = "0.1.0"


def load(build: str | Path, target: str | None = None) -> "Session":
    """Open a finished build, ready to answer; imports no torch.

        with derycc.load("builds/mine") as session:
            print(session("cat.jpg"))

    Args:
        build: folder that `derycc build` has written.
        target: where to run, as `--target` takes it; None: as it was built for.

    Raises:
        UsageError: the folder is no finished build, or its files are not those that were built.
        TargetUnavailableError: the target's runtime is not installed here.
    """
    from derycc.runtime import open_session

    return open_session(build, target)
