"""The tables of a cost store."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

SCHEMA = 2
"""Version of these tables; each has a step in `migrations/versions` that leads to it."""

METADATA = MetaData()


def utc(time: datetime) -> datetime:
    """SQLite keeps times without their zone, PostgreSQL gives them in its own."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _now() -> datetime:
    return datetime.now(UTC)


schema_version = Table("schema_version", METADATA, Column("version", Integer, primary_key=True))

# Alembic's own note of the last step; that of derycc, which all its versions know, is the above.
alembic_version = Table(
    "alembic_version", METADATA, Column("version_num", String(32), primary_key=True)
)

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
    Column("peak_bytes", BigInteger),
    Column("joules", Float),
    Column("contention", Float),
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
