"""Cache: results that a hash of everything they depend on names, kept as files."""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from targets.errors import WorkspaceError

if sys.platform != "win32":
    import fcntl

FORMAT = "v3"
"""Raised whenever the same inputs begin to give other results: old entries are then not found."""


def digest(*parts: object) -> str:
    """A short hash of values whose `repr` is stable: strings, numbers, tuples, frozen values."""
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()[:24]


class Cache:
    """A folder of JSON files and of folders, each named by what it depends on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str, key: str) -> Path:
        """Where something of this kind and key belongs."""
        return self.folder / FORMAT / kind / key

    def json(self, kind: str, key: str, make: Callable[[], Any]) -> Any:
        """The cached value, or the one `make` gives, which is then kept.

        A file that cannot be read as JSON is made again.
        """
        path = self.path(kind, key).with_suffix(".json")
        try:
            return json.loads(path.read_text())
        except (FileNotFoundError, ValueError):  # no JSON, or no text at all
            value = make()
            write_atomic(path, json.dumps(value, indent=1).encode())
            return value


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Alone with a file, among all processes that ask: for what is read, changed and written again.

    The lock is a file beside it, which stays; it ends with the process that has it. There is none
    on Windows.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def unwritable(path: Path, error: OSError) -> WorkspaceError:
    """What to raise where a file of the workspace cannot be written."""
    return WorkspaceError(
        f"Cannot write {path}: {error.strerror}. Give a folder that can be written with --home "
        "(or the DERYCC_HOME variable), or --out for builds."
    )
