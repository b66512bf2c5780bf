"""Files of a build, read with care: a build may come from anybody.

Nothing outside its folder is read on its word, nothing without an end, and no code that it names
is run. What is refused is refused in one paragraph.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from targets.errors import UsageError

MOST_TEXT = 64 * 2**20
"""Bytes of a manifest, a lock or a list of labels that are read."""
MOST_WEIGHTS = 2**31
"""Bytes of a model or its weights that are read: a protobuf ends there."""


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file in a folder: no path, nothing special."""
    return bool(name) and name not in (".", "..") and not set(name) & {"/", "\\", "\0"}


def read_file(folder: Path, name: str, most: int = MOST_TEXT) -> bytes:
    """The content of a file of a build.

    Raises:
        UsageError: it is none, a link, no ordinary file, or larger than `most` bytes.
    """
    with open_file(folder, name, most) as file:
        return file.read(most + 1)


@contextmanager
def open_file(folder: Path, name: str, most: int = MOST_WEIGHTS) -> Iterator[BufferedReader]:
    """A file of a build, open for reading; see `read_file`."""
    path = folder / name
    if not is_plain_name(name):
        raise UsageError(
            f"The build {folder} names a file {name!r:.80}, which is none of its own folder. It "
            "was not made by derycc; do not use it."
        )
    try:
        # A pipe would wait for a writer, and a link lead anywhere.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "it is a link" if path.is_symlink() else error.strerror
        raise UsageError(
            f"{path} cannot be read ({reason}). Build again, or restore it."
        ) from error
    told = os.fstat(handle)
    if not stat.S_ISREG(told.st_mode):
        os.close(handle)
        raise UsageError(f"{path} is no ordinary file. Build again, or restore it.")
    with os.fdopen(handle, "rb") as file:
        if told.st_size > most:
            raise UsageError(
                f"{path} has {told.st_size} bytes, and at most {most} are read. Build again, or "
                "restore it."
            )
        yield file


def read_lines(folder: Path, name: str) -> tuple[str, ...]:
    """The lines of a text of a build.

    Raises:
        UsageError: as `read_file`, or it is no text.
    """
    try:
        return tuple(read_file(folder, name).decode("utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{folder / name} is no text in UTF-8. Build again, or restore it."
        ) from error
