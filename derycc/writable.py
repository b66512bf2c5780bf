"""Writable: whether something can be put at a path, told before anything takes time."""

import os
from pathlib import Path


def obstacle(path: Path) -> str | None:
    """What keeps a new file or folder from being put at a path; None: nothing does.

    Judged by the nearest folder above it that exists: those that are missing are made.
    """
    place = path.absolute()
    for around in place.parents:
        if why := _unreachable(around):
            return why
        if not os.path.lexists(around):
            continue
        if not around.is_dir():
            return f"{around} is not a folder"
        usable = os.access(around, os.W_OK | os.X_OK)
        return _unreachable(place) if usable else f"{around} cannot be written"
    return None


def _unreachable(place: Path) -> str | None:
    """Why nobody can tell whether there is something at a place; None: it is there, or is not."""
    try:
        place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"{place}: {error.strerror}"
    return None
