"""Which database a text names, and how it is opened."""

import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from targets.errors import UsageError, WorkspaceError

_BUSY_SECONDS = 60
_CONNECT_SECONDS = 10
_POSTGRESQL = "postgresql+psycopg"
_TABLES = ("environments", "models", "sentinels", "rounds")
_SHORT = frozenset({"postgres", "postgresql"})
_KNOWN = frozenset({"sqlite", *_SHORT})


def is_url(where: str | Path) -> bool:
    """Whether it names a database by URL; anything else is a file."""
    return "://" in str(where)


def database_url(where: str | Path) -> URL:
    """The URL of a store, which may be given as a file or as `postgresql://...`.

    Raises:
        WorkspaceError: It is a folder.
        UsageError: The text is no URL, or that of an unknown database.
    """
    if not is_url(where):
        if Path(where).is_dir():
            raise WorkspaceError(
                f"Cannot open the cost store {str(where)!r}: it is a folder. Name the file in it, "
                f"such as {str(Path(where) / 'costs.sqlite')!r}."
            )
        return URL.create("sqlite", database=str(Path(where).absolute()))
    try:
        url = make_url(str(where))
    except (ArgumentError, ValueError):
        raise UsageError(
            f"Cannot open the cost store {redacted(where)!r}: it is no URL of a database. "
            f"{advice()}"
        ) from None
    if url.get_backend_name() not in _KNOWN:
        raise UsageError(
            f"Cannot open the cost store {redacted(where)!r}: it is a database of "
            f"{url.get_backend_name()}, and stores are SQLite or PostgreSQL. {advice()}"
        )
    return url.set(drivername=_POSTGRESQL) if url.drivername in _SHORT else url


def advice() -> str:
    """How a store is named."""
    return (
        "Give a file, or a URL such as postgresql://user@host/database whose driver is installed "
        "(pip install 'derycc[postgres]'); what is special in a password is written as %XX."
    )


def redacted(where: str | Path) -> str:
    """The text without a password, even where it is no proper URL."""
    text = re.sub(r"(://[^:@/]*:).*@", r"\1***@", str(where))
    return re.sub(r"([?&]password=)[^&]*", r"\1***", text)


def connect(url: URL) -> Engine:
    """An engine for the URL; SQLite gets its write-ahead log and waits for other writers."""
    if url.get_backend_name() != "sqlite":
        waits = url.drivername == _POSTGRESQL and "connect_timeout" not in url.query
        limit = {"connect_timeout": _CONNECT_SECONDS} if waits else {}
        return create_engine(url, pool_pre_ping=True, connect_args=limit)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def lock_tables(connection: Connection) -> None:
    """Keeps other writers waiting, in the order in which they write, until the transaction ends.

    Readers go on. SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {', '.join(_TABLES)} IN SHARE ROW EXCLUSIVE MODE")


def size_bytes(connection: Connection) -> int | None:
    """Room that the store takes; None where the database does not tell."""
    if connection.dialect.name == "sqlite":
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return int(pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    if connection.dialect.name == "postgresql":
        sizes = " + ".join(f"pg_total_relation_size('{name}')" for name in _TABLES)
        return int(connection.exec_driver_sql(f"SELECT {sizes}").scalar_one())
    return None


def shrink(engine: Engine) -> None:
    """Makes a SQLite file as small as what it holds, unless somebody uses it or the disk is full.

    Servers do so by themselves.
    """
    if engine.dialect.name != "sqlite":
        return
    raw = engine.raw_connection()
    try:
        with suppress(sqlite3.OperationalError), closing(raw.cursor()) as cursor:
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        raw.close()


def _configure(connection: Any, record: object) -> None:
    connection.isolation_level = None  # transactions begin below, not when the driver sees fit
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A lock from the start: a transaction that first reads and then writes could be refused midway.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
