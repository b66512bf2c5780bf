"""Stores that are only looked at: no right to write is needed, and no writer waits meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from profilers.store import CostStore
from profilers.store_copy import snapshot
from targets.scratch import scratch_folder


@contextmanager
def read_store(where: str | Path) -> Iterator[CostStore]:
    """A store as it is now: a SQLite file as a copy, which is thrown away, a server itself.

    Args:
        where: A file or a URL.

    Raises:
        WorkspaceError: There is no store, or it cannot be read.
        UsageError: The text is no URL of a known database.
    """
    with scratch_folder() as folder:
        copy = snapshot(where, folder)
        with CostStore(copy, create=False, shown=where) as store:
            yield store
