"""Merging: a store takes over what another, or a file, has; doing it again changes nothing."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from profilers.database import lock_tables
from profilers.environment import Environment
from profilers.store import CostStore
from profilers.store_copy import snapshot
from profilers.store_generations import by_series
from profilers.store_records import EnvironmentRecord, Record, RoundRecord, SentinelRecord, records
from profilers.tables import environments, models, rounds, sentinels, utc
from targets.errors import UsageError
from targets.scratch import scratch_folder

_AT_ONCE = 500
_SERIES = (rounds.c.key, rounds.c.environment, rounds.c.protocol)
_HERE, _THERE = 0, 1


@dataclass(frozen=True, slots=True)
class Absorbed:
    """What came of a merge.

    Attributes:
        rounds: Rounds that are new.
        known: Rounds that were there already.
        models: Models that are new.
        environments: Environments that are new.
        sentinels: Measurements of the sentinel that are new.
    """

    rounds: int = 0
    known: int = 0
    models: int = 0
    environments: int = 0
    sentinels: int = 0


def merge(store: CostStore, source: str | Path, dry: bool = False) -> Absorbed:
    """Takes over from another store what this one does not have; the other stays as it is.

    Args:
        store: Takes.
        source: A store's file, which is read from a copy, or its URL.
        dry: Only count.

    Raises:
        WorkspaceError: A store cannot be used; nothing was taken over.
    """
    with scratch_folder() as folder:
        where = snapshot(source, folder)
        with CostStore(where, create=False, shown=source) as other, other.transaction() as read:
            return absorb(store, records(read), dry)


def absorb(
    store: CostStore,
    source: Iterable[Record],
    dry: bool = False,
) -> Absorbed:
    """Takes records over that the store does not have, all or none of them.

    A round is the same as another if model, environment, protocol, session and samples are: its
    index plays no part, and a new round gets the next free one. Generations are told apart by when
    they began: see `Generations`. Where a source has the same round
    several times, the store has it as often afterwards, unless it already had it more often. So
    merging again, or back, changes nothing.

    Args:
        store: Takes.
        source: Every environment before what was measured in it.
        dry: Only count.

    Raises:
        UsageError: A record names an environment that did not come before it.
        WorkspaceError: The store cannot be written; nothing was taken over.
    """
    with store.transaction(dry=dry) as connection:
        lock_tables(connection)
        absorber = _Absorber(connection)
        for record in source:
            absorber.take(record)
        return absorber.finish()


class _Absorber:
    """The state of one merge."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._models = set(connection.scalars(select(models.c.key)))
        self._environments: dict[str, _Known] = {}
        self._new: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._generations = by_series()
        self._grown: set[tuple[str, ...]] = set()
        self._counts: Counter[str] = Counter()

    def take(self, record: Record) -> None:
        """Takes one record over, unless it is there."""
        if isinstance(record, EnvironmentRecord):
            self._environment(record)
        elif isinstance(record, RoundRecord):
            self._round(record, self._of(record.environment))
        else:
            self._sentinel(record, self._of(record.environment))

    def finish(self) -> Absorbed:
        """Writes what is left and says what came of it."""
        self._write()
        for series in sorted(self._grown):
            self._renumber(series)
        return Absorbed(**self._counts)

    def _renumber(self, series: tuple[str, ...]) -> None:
        """Gives the rounds of a series the generations that they have in both stores together."""
        this = [column == value for column, value in zip(_SERIES, series, strict=True)]
        columns = (rounds.c.id, rounds.c.generation, rounds.c.measured)
        found = self._connection.execute(select(*columns).where(*this)).all()
        numbers = self._generations[series].numbers(utc(row.measured) for row in found)
        for row, number in zip(found, numbers, strict=True):
            if row.generation != number:
                changed = update(rounds).where(rounds.c.id == row.id)
                self._connection.execute(changed.values(generation=number))

    def _of(self, fingerprint: str) -> "_Known":
        if fingerprint not in self._environments:
            raise UsageError(
                f"A measurement names the environment {fingerprint!r}, which is not described "
                f"before it. Nothing was taken over. Take the file from where it was made."
            )
        return self._environments[fingerprint]

    def _environment(self, record: EnvironmentRecord) -> None:
        fingerprint = record.content.fingerprint
        query = select(environments.c.fingerprint).where(environments.c.fingerprint == fingerprint)
        if self._connection.scalar(query) is None:
            content = CostStore.plain(record.content)
            row = {"content": content, "first_seen": record.first_seen}
            self._connection.execute(insert(environments).values(fingerprint=fingerprint, **row))
            self._counts["environments"] += 1
        if record.fingerprint not in self._environments:
            self._write()
            self._environments[record.fingerprint] = _Known(self._connection, record.content)
            self._know_generations(fingerprint)

    def _know_generations(self, fingerprint: str) -> None:
        began = func.min(rounds.c.measured)
        query = select(*_SERIES, rounds.c.generation, began).group_by(*_SERIES, rounds.c.generation)
        for *series, generation, first in self._connection.execute(
            query.where(rounds.c.environment == fingerprint)
        ):
            self._generations[tuple(series)].add(_HERE, generation, utc(first))

    def _sentinel(self, record: SentinelRecord, known: "_Known") -> None:
        if known.has(_sentinel_identity(record.protocol, record.session, record.seconds)):
            return
        self._counts["sentinels"] += 1
        row = {"protocol": record.protocol, "session": record.session, "seconds": record.seconds}
        self._keep("sentinels", {**row, "environment": known.fingerprint})

    def _round(self, record: RoundRecord, known: "_Known") -> None:
        series = (record.key, known.fingerprint, record.protocol)
        self._generations[series].add(_THERE, record.generation, record.measured)
        if known.has(_identity(record.key, record.protocol, record.session, record.samples)):
            self._counts["known"] += 1
            return
        self._counts["rounds"] += 1
        self._grown.add(series)
        if record.key not in self._models:
            self._models.add(record.key)
            self._counts["models"] += 1
            self._keep("models", {"key": record.key, "name": record.name})
        row = {name: getattr(record, name) for name in _ROUND_COLUMNS}
        index = known.index(record.key, record.protocol)
        row |= {"samples": list(record.samples), "environment": known.fingerprint, "index": index}
        self._keep("rounds", row)

    def _keep(self, table: str, row: dict[str, Any]) -> None:
        self._new[table].append(row)
        if len(self._new[table]) >= _AT_ONCE:
            self._write()

    def _write(self) -> None:
        for table in (models, sentinels, rounds):  # rounds refer to models
            if self._new[table.name]:
                self._connection.execute(insert(table), self._new.pop(table.name))


class _Known:
    """What the store has of one environment."""

    def __init__(self, connection: Connection, environment: Environment) -> None:
        self.fingerprint = environment.fingerprint
        self._left: Counter[bytes] = Counter()
        here = rounds.c.environment == self.fingerprint
        found = connection.execute(
            select(rounds.c.key, rounds.c.protocol, rounds.c.session, rounds.c.samples).where(here)
        )
        self._left.update(_identity(*row) for row in found.yield_per(_AT_ONCE))
        beside = connection.execute(
            select(sentinels.c.protocol, sentinels.c.session, sentinels.c.seconds).where(
                sentinels.c.environment == self.fingerprint
            )
        )
        self._left.update(_sentinel_identity(*row) for row in beside)
        last = select(rounds.c.key, rounds.c.protocol, func.max(rounds.c.index)).where(here)
        self._next: dict[tuple[str, str], int] = {
            (key, protocol): highest + 1
            for key, protocol, highest in connection.execute(
                last.group_by(rounds.c.key, rounds.c.protocol)
            )
        }

    def has(self, identity: bytes) -> bool:
        """Whether the store has it once more than the source had it so far."""
        if not self._left[identity]:
            return False
        self._left[identity] -= 1
        return True

    def index(self, key: str, protocol: str) -> int:
        """The next free index of a model under a protocol."""
        index = self._next.get((key, protocol), 0)
        self._next[key, protocol] = index + 1
        return index


_ROUND_COLUMNS = tuple(
    column.name
    for column in rounds.c
    if column.name not in {"id", "index", "samples", "environment"}
)


def _identity(key: str, protocol: str, session: str, samples: Iterable[float]) -> bytes:
    return _digest("round", key, protocol, session, *(float(sample).hex() for sample in samples))


def _sentinel_identity(protocol: str, session: str, seconds: float) -> bytes:
    return _digest("sentinel", protocol, session, float(seconds).hex())


def _digest(*texts: str) -> bytes:
    return blake2b("\0".join(texts).encode(), digest_size=16).digest()
