"""The tables of a cost store are made, or brought up to date, in one transaction."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, func, insert, inspect, select, text, update

from profilers.tables import METADATA, SCHEMA, alembic_version, schema_version

_LOCK = 0x6465727963  # of PostgreSQL, which every derycc takes that prepares or fills a store


class UnfitError(Exception):
    """A database that cannot be used as a cost store; the text says why."""


def prepare(connection: Connection, create: bool = True, read: bool = False) -> None:
    """Makes a store of an empty database, or brings an older store up to date.

    Of several processes that open a store at the same moment one does it, and the others wait.
    Before a SQLite file is brought up to date, its copy is put beside it as `FILE.schemaN.bak`.

    Args:
        connection: In a transaction, which the caller ends.
        create: Whether to make a store of an empty database.
        read: Whether it is only looked at: one that is up to date is then not touched.

    Raises:
        UnfitError: It holds something else, is of a newer version, could not be copied, or is
            empty and not to be filled.
    """
    if read and _current(connection):
        return
    lock(connection)
    there = set(inspect(connection).get_table_names())
    if schema_version.name not in there:
        if there:
            raise UnfitError(f"it holds other tables ({', '.join(sorted(there))})")
        if not create:
            raise UnfitError("it is empty")
        METADATA.create_all(connection)
        connection.execute(insert(schema_version).values(version=SCHEMA))
        connection.execute(insert(alembic_version).values(version_num=f"schema_{SCHEMA}"))
    version = connection.scalar(select(func.max(schema_version.c.version)))
    if version is None or version > SCHEMA:
        raise UnfitError(f"its schema is version {version}, and this derycc knows up to {SCHEMA}")
    if version < SCHEMA:
        _back_up(connection, version)
        upgrade(connection, version)
    # A store that cannot be written is refused now, not after the first measurement.
    connection.execute(update(schema_version).values(version=SCHEMA))


def _current(connection: Connection) -> bool:
    if not inspect(connection).has_table(schema_version.name):
        return False
    return bool(connection.scalar(select(func.max(schema_version.c.version))) == SCHEMA)


def lock(connection: Connection) -> None:
    """Waits until no other process prepares or fills this store; ends with the transaction.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})


def upgrade(connection: Connection, version: int, to: int = SCHEMA) -> None:
    """Runs the steps from one schema version to another, in the connection's transaction.

    Version 0 is an empty database.
    """
    # Seldom needed, and slow to import.
    from alembic.command import upgrade as run
    from alembic.config import Config

    alembic_version.create(connection, checkfirst=True)
    if version and connection.scalar(select(func.count()).select_from(alembic_version)) == 0:
        connection.execute(insert(alembic_version).values(version_num=f"schema_{version}"))
    config = Config(attributes={"connection": connection})
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    run(config, f"schema_{to}")


def _back_up(connection: Connection, version: int) -> None:
    """Copies a SQLite file as it was before this transaction; a half-made copy is never seen."""
    if connection.dialect.name != "sqlite":
        return
    file = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
    if not file:
        return
    copy = Path(f"{file}.schema{version}.bak")
    half = copy.with_name(f"{copy.name}.half")
    try:
        half.unlink(missing_ok=True)
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(half)) as target:
            source.backup(target)
        half.replace(copy)
    except (OSError, sqlite3.Error) as error:
        half.unlink(missing_ok=True)
        raise UnfitError(
            f"it must be brought up to date, and its copy {str(copy)!r} cannot be written: {error}"
        ) from error
