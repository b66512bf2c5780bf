"""Copies of a store that may be read, brought up to date and thrown away without touching it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from profilers.database import connect, database_url, redacted
from profilers.store_faults import reason, remedy
from profilers.tables import schema_version
from targets.errors import WorkspaceError


def snapshot(where: str | Path, folder: Path) -> str:
    """A copy of a SQLite store as it is now, even while others write to it.

    A database on a server is not copied: its own URL comes back. Where there is no store yet,
    neither file nor server, the answer names a new file in the folder.

    Args:
        where: A file or a URL.
        folder: Takes the copy.

    Raises:
        WorkspaceError: It cannot be read.
    """
    url = database_url(where)
    copy = folder / "costs.sqlite"
    try:
        if url.get_backend_name() != "sqlite":
            return str(where) if _holds_a_store(where) else str(copy)
        if url.database and Path(url.database).exists():
            _copy(Path(url.database).absolute(), copy)
        return str(copy)
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        raise WorkspaceError(
            f"Cannot read the cost store {redacted(where)!r}: {reason(error)}. "
            f"{remedy(reason(error))}"
        ) from error


def _holds_a_store(where: str | Path) -> bool:
    engine = connect(database_url(where))
    try:
        return inspect(engine).has_table(schema_version.name)
    finally:
        engine.dispose()


def _copy(file: Path, copy: Path) -> None:
    """Copies by SQLite's own means, which see what is still in the write-ahead log.

    Whoever may write the file opens it so, though nothing is written: SQLite then takes its log
    away again, which it leaves behind otherwise.
    """
    try:
        _back_up(f"{file.as_uri()}?mode={'rw' if os.access(file, os.W_OK) else 'ro'}", copy)
    except sqlite3.OperationalError:
        if file.with_name(f"{file.name}-wal").exists():
            raise
        # In a folder that cannot be written SQLite refuses a log; without one, nobody writes.
        _back_up(f"{file.as_uri()}?mode=ro&immutable=1", copy)


def _back_up(uri: str, copy: Path) -> None:
    with closing(sqlite3.connect(uri, uri=True)) as source, closing(sqlite3.connect(copy)) as made:
        source.backup(made)
