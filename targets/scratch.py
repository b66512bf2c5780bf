"""`scratch_folder`: a temporary folder that goes even where its process was killed.

A folder carries its process's number in its name and a locked file. Whoever makes one first removes
those that the same user's dead processes left. The lock tells more than the number: a process in
another container that shares the folder for temporary files has a number that means nothing here.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from targets.errors import WorkspaceError

if sys.platform != "win32":
    import fcntl

_NAME = re.compile(r"derycc-([0-9]{1,9})-[a-z0-9_]+")
_LOCK = ".in-use"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, which is removed afterwards with all that is in it.

    Raises:
        WorkspaceError: It cannot be made.
    """
    try:
        _sweep(Path(tempfile.gettempdir()))
        folder = tempfile.TemporaryDirectory(
            prefix=f"derycc-{os.getpid()}-", ignore_cleanup_errors=True
        )
        lock = os.open(Path(folder.name) / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise WorkspaceError(
            f"Cannot make a temporary folder: {error.strerror or error}. Free space for temporary "
            f"files, or set TMPDIR to a folder that can be written."
        ) from error
    try:
        with folder:
            _lock(lock)
            yield Path(folder.name)
    finally:
        os.close(lock)


def _sweep(root: Path) -> None:
    """Removes what this user's dead processes left; not on Windows, where signal 0 ends one."""
    with suppress(OSError):
        for folder in root.glob("derycc-*") if sys.platform != "win32" else ():
            named = _NAME.fullmatch(folder.name)
            if named and not _alive(int(named[1])) and _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _abandoned(folder: Path) -> bool:
    """Whether it is this user's own and nobody holds its lock."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        return _lock(lock)
    finally:
        os.close(lock)


def _lock(file: int) -> bool:
    """Takes the lock, which ends with the process; False where another process has it."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
