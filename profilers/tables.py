"""The tables of a cost store, and how its database is opened."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.engine import Connection, make_url

SCHEMA = 1
"""Version of these tables; a change that an older derycc cannot read increases it."""

_BUSY_SECONDS = 60

METADATA = MetaData()


def _now() -> datetime:
    return datetime.now(UTC)


schema_version = Table("schema_version", METADATA, Column("version", Integer, primary_key=True))

environments = Table(
    "environments",
    METADATA,
    Column("fingerprint", String(64), primary_key=True),
    Column("content", JSON, nullable=False),
    Column("first_seen", DateTime(timezone=True), nullable=False, default=_now),
)

models = Table(
    "models",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("name", String, nullable=False),
)

rounds = Table(
    "rounds",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", ForeignKey(models.c.key), nullable=False),
    Column("environment", ForeignKey(environments.c.fingerprint), nullable=False),
    Column("protocol", String(64), nullable=False),
    Column("index", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("session", String(64), nullable=False),
    Column("samples", JSON, nullable=False),
    Column("load_seconds", Float, nullable=False),
    Column("capped", Boolean, nullable=False),
    Column("measured", DateTime(timezone=True), nullable=False, default=_now),
    UniqueConstraint("key", "environment", "protocol", "index"),
)

sentinels = Table(
    "sentinels",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("environment", ForeignKey(environments.c.fingerprint), nullable=False),
    Column("protocol", String(64), nullable=False),
    Column("session", String(64), nullable=False, index=True),
    Column("seconds", Float, nullable=False),
)


def connect(url: str) -> Engine:
    """An engine for the URL; SQLite gets its write-ahead log and waits for other writers."""
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


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
