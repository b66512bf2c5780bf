"""`CostStore`: the database of raw samples, which is written after every single measurement."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter
from sqlalchemy import URL, Connection, Row, Table, func, insert, select
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from profilers.database import (
    advice,
    connect,
    database_url,
    is_url,
    redacted,
    shrink,
    size_bytes,
)
from profilers.environment import Environment
from profilers.measurement import Measurement
from profilers.migration import UnfitError, prepare
from profilers.protocol import Protocol
from profilers.store_faults import reason, remedy
from profilers.store_rows import measurement, scales
from profilers.tables import environments, models, rounds, sentinels, utc
from targets.errors import UsageError, WorkspaceError

_BATCH = 400
_ENVIRONMENT = TypeAdapter(Environment)
_KEYS = {
    "environments": ("fingerprint",),
    "models": ("key",),
    "rounds": ("key", "environment", "protocol", "index"),
}
"""What no two rows of a table have in common."""


@dataclass(frozen=True, slots=True)
class Round:
    """One model measured once.

    Attributes:
        key: The model's `structure`.
        name: A name for people.
        index: Number of the round among all rounds of this model, environment and protocol.
        samples: Seconds per inference of each timed unit.
        load_seconds: Seconds that loading took.
        capped: Whether the time ran out before the interval was narrow enough.
        generation: Rounds of an older generation than the newest are kept but not used.
        session: Identifies the process that measured; its sentinels carry the same text.
        peak_bytes: Memory that loading and running took; None where it is not known.
        joules: Energy of one inference; None where it is not known.
        contention: As `profilers.contention.Load.contention`; None where it is not known.
    """

    key: str
    name: str
    index: int
    samples: tuple[float, ...]
    load_seconds: float
    capped: bool = False
    generation: int = 0
    session: str = ""
    peak_bytes: int | None = None
    joules: float | None = None
    contention: float | None = None


@dataclass(frozen=True, slots=True)
class RoundsDone:
    """What the store has of a model: newest generation, rounds in it, next free index."""

    generation: int = 0
    rounds: int = 0
    next_index: int = 0


class CostStore:
    """Raw samples by model, environment and protocol; every write is committed at once.

    Several processes may write to one store at the same time. Writing what is there already
    changes nothing, so that a run can be killed at any moment and started again.
    """

    def __init__(
        self, url_or_path: str | Path, *, create: bool = True, shown: str | Path | None = None
    ) -> None:
        """Opens a store; creates it where there is none, and brings an older one up to date.

        Args:
            url_or_path: A file for SQLite, or the URL of any database that SQLAlchemy knows.
            create: Whether to make a store where there is none.
            shown: Of what it is a copy that is only looked at, or itself where it is not written:
                messages call it so. A store that is up to date need not be writable then.

        Raises:
            WorkspaceError: It is read-only, damaged, of a newer version, no cost store, or not
                there and not to be made.
            UsageError: The text is no URL of a known database.
        """
        self.where = redacted(url_or_path if shown is None else shown)
        """What it was opened by, without a password."""
        url = database_url(url_or_path)
        if not create:
            self._require(url)
        elif not is_url(url_or_path):
            self._make_folder(Path(url_or_path))
        try:
            self._engine = connect(url)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise UsageError(
                f"Cannot open the cost store {self.where!r}: {error}. {advice()}"
            ) from error
        try:
            with self.transaction() as connection:
                prepare(connection, create, read=shown is not None)
        except BaseException:
            self._engine.dispose()
            raise

    def __enter__(self) -> Self:
        """Returns the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the store."""
        self.close()

    def close(self) -> None:
        """Closes all connections; what was written is already kept."""
        self._engine.dispose()

    def add_round(self, environment: Environment, protocol: Protocol, done: Round) -> bool:
        """Keeps one measured round.

        Returns:
            False where this model, environment, protocol and index were there already; what is
            there stays as it is.
        """
        row = {
            **{name: value for name, value in asdict(done).items() if name != "name"},
            "samples": list(done.samples),
            "environment": environment.fingerprint,
            "protocol": protocol.digest,
        }
        with self.transaction() as connection:
            self._add_environment(connection, environment)
            _add(connection, models, {"key": done.key, "name": done.name})
            if _add(connection, rounds, row):
                return True
            generation, following = _occupied(connection, row)
            # Rounds of another generation, merged in meanwhile, may have taken the index.
            return generation != done.generation and _add(
                connection, rounds, {**row, "index": following}
            )

    def add_sentinel(
        self,
        environment: Environment,
        protocol: Protocol,
        session: str,
        samples: Sequence[float],
    ) -> None:
        """Keeps one measurement of the sentinel in a session, in seconds per inference."""
        row = {
            "environment": environment.fingerprint,
            "protocol": protocol.digest,
            "session": session,
            "seconds": median(samples),
        }
        with self.transaction() as connection:
            self._add_environment(connection, environment)
            connection.execute(insert(sentinels).values(row))

    def rounds_done(
        self, environment: Environment, protocol: Protocol, keys: Iterable[str]
    ) -> dict[str, RoundsDone]:
        """What is there of each of these models; a model without a round is left out."""
        found: dict[str, RoundsDone] = {}
        columns = (
            rounds.c.key,
            rounds.c.generation,
            func.count().label("rounds"),
            func.max(rounds.c.index).label("last"),
        )
        query = (
            select(*columns)
            .where(rounds.c.environment == environment.fingerprint)
            .where(rounds.c.protocol == protocol.digest)
            .group_by(rounds.c.key, rounds.c.generation)
            .order_by(rounds.c.key, rounds.c.generation)
        )
        with self.transaction() as connection:
            for batch in _batches(keys):
                for key, generation, count, last in connection.execute(
                    query.where(rounds.c.key.in_(batch))
                ):
                    following = max(last + 1, found.get(key, RoundsDone()).next_index)
                    found[key] = RoundsDone(generation, count, following)
        return found

    def begun(
        self, environment: Environment, protocol: Protocol, keys: Iterable[str], generation: int
    ) -> datetime | None:
        """When the first round of these models in a generation was kept; None: there is none."""
        query = (
            select(func.min(rounds.c.measured))
            .where(rounds.c.environment == environment.fingerprint)
            .where(rounds.c.protocol == protocol.digest)
            .where(rounds.c.generation == generation)
        )
        with self.transaction() as connection:
            found = [
                connection.scalar(query.where(rounds.c.key.in_(batch))) for batch in _batches(keys)
            ]
        return min((utc(time) for time in found if time is not None), default=None)

    def measurements(
        self,
        environment: Environment,
        keys: Iterable[str] | None = None,
        protocol: Protocol | None = None,
    ) -> dict[str, Measurement]:
        """The newest generation of each model's rounds, corrected for drift.

        Args:
            environment: Where they must have been measured.
            keys: Models to look for; None: all.
            protocol: How they must have been measured; None: as each was measured last.

        Returns:
            Measurements by model key; a model without any is left out.
        """
        query = (
            select(rounds, models.c.name)
            .join(models, models.c.key == rounds.c.key)
            .where(rounds.c.environment == environment.fingerprint)
            .order_by(rounds.c.measured, rounds.c.id)
        )
        if protocol is not None:
            query = query.where(rounds.c.protocol == protocol.digest)
        by_key: dict[str, list[Row[Any]]] = defaultdict(list)
        with self.transaction() as connection:
            factors = scales(connection, environment)
            for batch in [None] if keys is None else _batches(keys):
                part = query if batch is None else query.where(rounds.c.key.in_(batch))
                for row in connection.execute(part):
                    by_key[row.key].append(row)
        return {key: measurement(rows, factors) for key, rows in by_key.items()}

    def environments(self) -> tuple[Environment, ...]:
        """Every environment in which something was measured, oldest first."""
        query = select(environments.c.content).order_by(environments.c.first_seen)
        with self.transaction() as connection:
            return tuple(
                _ENVIRONMENT.validate_python(content) for content in connection.scalars(query)
            )

    def size_bytes(self) -> int | None:
        """Room that the store takes; None where the database does not tell."""
        with self.transaction() as connection:
            return size_bytes(connection)

    def shrink(self) -> int | None:
        """Gives back the room of what was removed, and returns the room that the store takes now.

        Room that others use at the moment stays; a server gives it back by itself, in time.
        """
        shrink(self._engine)
        return self.size_bytes()

    @staticmethod
    def plain(environment: Environment) -> dict[str, Any]:
        """An environment as the plain data that a store keeps."""
        content: dict[str, Any] = _ENVIRONMENT.dump_python(environment, mode="json")
        return content

    @staticmethod
    def _add_environment(connection: Connection, environment: Environment) -> None:
        content = CostStore.plain(environment)
        fingerprint = environment.fingerprint
        _add(connection, environments, {"fingerprint": fingerprint, "content": content})

    def _make_folder(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(f"{error.strerror}: {str(file.parent)!r}") from error

    def _require(self, url: URL) -> None:
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            raise WorkspaceError(
                f"There is no cost store at {self.where!r}. Run 'derycc profile' to make one, or "
                f"name another with --store."
            )

    @contextmanager
    def transaction(self, dry: bool = False) -> Iterator[Connection]:
        """All or nothing of what is read and written on the connection; for this package.

        Args:
            dry: Take everything back at the end.

        Raises:
            WorkspaceError: The database refused something; nothing was written.
        """
        try:
            with self._engine.connect() as connection, connection.begin() as all_of_it:
                yield connection
                if dry:
                    all_of_it.rollback()
        except UnfitError as error:
            raise self._unusable(str(error)) from error
        except SQLAlchemyError as error:
            raise self._unusable(reason(error)) from error

    def _unusable(self, said: str) -> WorkspaceError:
        return WorkspaceError(
            f"Cannot use the cost store {self.where!r}: {said}. What it holds was left as it "
            f"is. {remedy(said)}"
        )


def _add(connection: Connection, table: Table, row: dict[str, object]) -> bool:
    """Inserts a row unless one with its key is there, in any database.

    Whatever else the database refuses goes through.
    """
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(row))
    except IntegrityError:
        key = [table.c[name] == row[name] for name in _KEYS[table.name]]
        if connection.scalar(select(func.count()).select_from(table).where(*key)) == 0:
            raise
        return False
    return True


def _occupied(connection: Connection, row: dict[str, Any]) -> tuple[int, int]:
    """The generation of the round that has this round's index, and the next free index."""
    names = ("key", "environment", "protocol")
    series = [rounds.c[name] == row[name] for name in names]
    generation = connection.scalar(
        select(rounds.c.generation).where(*series, rounds.c.index == row["index"])
    )
    last = connection.scalar(select(func.max(rounds.c.index)).where(*series))
    assert generation is not None and last is not None
    return generation, last + 1


def _batches(keys: Iterable[str]) -> list[list[str]]:
    ordered = list(dict.fromkeys(keys))
    return [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]
