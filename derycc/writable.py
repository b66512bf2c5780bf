"""Writable: whether something can be put at a path, told before anything takes time."""

import os
from pathlib import Path


def obstacle(path: Path) -> str | None:
    """What keeps a file or folder from being put at a path; None: nothing does.

    Judged by the nearest folder that exists: those that are missing are made.
    """
    around = next(one for one in path.absolute().parents if one.exists())
    if not around.is_dir():
        return f"{around} is not a folder"
    return None if os.access(around, os.W_OK | os.X_OK) else f"{around} is read-only"
