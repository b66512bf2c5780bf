"""What a cost store holds, row by row: as values that are read, written to files and merged."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, select

from profilers.environment import Environment
from profilers.tables import environments, models, rounds, sentinels, utc
from targets.errors import UsageError

FORMAT = "derycc.costs/1"
"""Format of the files that are written; files of every earlier format are read."""

_AT_ONCE = 500

# No NUL, which PostgreSQL cannot keep in a text.
Name = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
Hash = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
Session = Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True, slots=True)
class EnvironmentRecord:
    """An environment in which something was measured.

    Attributes:
        fingerprint: What rounds and sentinels name it by, which another derycc may have computed
            by another rule.
        content: The environment.
        first_seen: When its first measurement was kept.
        kind: Tells it from the other records.
    """

    fingerprint: Hash
    content: Environment
    first_seen: AwareDatetime
    kind: Literal["environment"] = "environment"


@dataclass(frozen=True, slots=True)
class SentinelRecord:
    """The sentinel measured once: see `CostStore.add_sentinel`."""

    environment: Hash
    protocol: Hash
    session: Session
    seconds: Seconds
    kind: Literal["sentinel"] = "sentinel"


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """A model measured once: see `Round`. Its index is a matter of the store that it is in."""

    key: Hash
    name: Name
    environment: Hash
    protocol: Hash
    generation: Annotated[int, Field(ge=0, lt=2**31)]
    session: Session
    samples: Annotated[tuple[Seconds, ...], Field(min_length=1)]
    load_seconds: Amount
    capped: bool
    measured: AwareDatetime
    peak_bytes: Bytes | None = None
    joules: Amount | None = None
    contention: Amount | None = None
    kind: Literal["round"] = "round"


Record = EnvironmentRecord | SentinelRecord | RoundRecord
RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def record(fields: Mapping[str, Any], where: str) -> Record:
    """A record from plain data.

    Args:
        fields: As JSON has them.
        where: Where they stand, for the message.

    Raises:
        UsageError: They are no record.
    """
    try:
        return RECORD.validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise UsageError(
            f"{where} is no measurement: {place}: {first['msg']}. Nothing was taken over. Take "
            f"the file from where it was made, or update derycc if a newer one wrote it."
        ) from error


def records(connection: Connection, fingerprint: str | None = None) -> Iterator[Record]:
    """Everything in a store: every environment before what was measured in it.

    Args:
        connection: In a transaction of the store.
        fingerprint: Only this environment; None: all.
    """
    query = select(environments).order_by(environments.c.first_seen, environments.c.fingerprint)
    if fingerprint is not None:
        query = query.where(environments.c.fingerprint == fingerprint)
    for found in connection.execute(query).all():
        yield record({**_plain(found), "kind": "environment"}, "An environment of the store")
        for table, kind in ((sentinels, "sentinel"), (rounds, "round")):
            rows = select(table).where(table.c.environment == found.fingerprint)
            if table is rounds:
                rows = rows.add_columns(models.c.name).join(models, models.c.key == rounds.c.key)
            for row in connection.execute(rows.order_by(table.c.id)).yield_per(_AT_ONCE):
                yield record({**_plain(row), "kind": kind}, f"A {kind} of the store")


def _plain(row: Row[Any]) -> dict[str, Any]:
    """The row's values by column, with all times in UTC."""
    return {
        name: utc(value) if isinstance(value, datetime) else value
        for name, value in row._mapping.items()
    }
