"""Writable: whether something can be put at a path, told before anything takes time."""

import os
from pathlib import Path


def obstacle(path: Path) -> str | None:
    """What keeps a new file or folder from being put at a path; None: nothing does.

    Judged by the nearest folder above it that exists: those that are missing are made.
    """
    for around in path.absolute().parents:
        try:
            around.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"{around}: {error.strerror}"
        if not around.is_dir():
            return f"{around} is not a folder"
        return None if os.access(around, os.W_OK | os.X_OK) else f"{around} cannot be written"
    return None
