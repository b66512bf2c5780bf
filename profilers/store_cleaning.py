"""Cleaning: old generations, models that nobody measures any more, and whole environments go."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select

from profilers.database import lock_tables
from profilers.environment import Environment
from profilers.store import CostStore
from profilers.tables import environments, models, rounds, sentinels, utc
from targets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What goes; a series is all rounds of one model, environment and protocol.

    Attributes:
        keep_generations: The newest so many generations of every series stay.
        older_than: Series whose last round is older go; None: none do.
        environment: All that was measured in it goes and nothing else; None: what the others say.
    """

    keep_generations: int = 1
    older_than: timedelta | None = None
    environment: Environment | None = None

    def __post_init__(self) -> None:
        """Checks that nothing is asked that would empty the store by mistake."""
        if self.keep_generations < 1:
            raise UsageError(
                f"Cannot keep {self.keep_generations} generations. Keep at least 1, or name an "
                f"environment to remove all of it."
            )
        if self.older_than is not None and self.older_than <= timedelta():
            days = self.older_than / timedelta(days=1)
            raise UsageError(
                f"Cannot remove what is older than {days:g} days. Name a number above 0."
            )


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What went, or would go.

    Attributes:
        rounds: Rounds.
        models: Models of which nothing is left.
        environments: Environments of which nothing is left.
        sentinels: Measurements of the sentinel whose rounds are all gone.
        freed_bytes: Room that was given back; of a dry run an estimate by the share of rounds;
            None where the database does not tell.
    """

    rounds: int
    models: int
    environments: int
    sentinels: int
    freed_bytes: int | None


def clean(store: CostStore, cleaning: Cleaning, dry: bool = False) -> Cleaned:
    """Removes what a cleaning says; a profile that runs meanwhile loses nothing.

    Args:
        store: What to clean.
        cleaning: What goes.
        dry: Only count.

    Raises:
        WorkspaceError: The store cannot be written; nothing was removed.
    """
    before = store.size_bytes()
    with store.transaction(dry=dry) as connection:
        lock_tables(connection)
        total = connection.scalar(select(func.count()).select_from(rounds)) or 0
        condemned = list(_condemned(connection, cleaning))
        gone, beside = _remove(connection, condemned)
        if cleaning.environment is not None:
            named = sentinels.c.environment == cleaning.environment.fingerprint
            beside += connection.execute(delete(sentinels).where(named)).rowcount
        unmeasured = models.c.key.not_in(select(rounds.c.key))
        forgotten = connection.execute(delete(models).where(unmeasured)).rowcount
        empty = [
            environments.c.fingerprint.not_in(select(table.c.environment))
            for table in (rounds, sentinels)
        ]
        left = connection.execute(delete(environments).where(*empty)).rowcount
    if dry:
        freed = None if before is None else round(before * gone / max(total, 1))
    else:
        freed = _given_back(before, store.shrink() if gone or beside else before)
    return Cleaned(gone, forgotten, left, beside, freed)


def _condemned(connection: Connection, cleaning: Cleaning) -> Iterator[ColumnElement[bool]]:
    """A condition for every generation of a series that goes."""
    if cleaning.environment is not None:
        yield rounds.c.environment == cleaning.environment.fingerprint
        return
    series = (rounds.c.key, rounds.c.environment, rounds.c.protocol)
    query = select(*series, rounds.c.generation, func.max(rounds.c.measured)).group_by(
        *series, rounds.c.generation
    )
    found: dict[tuple[str, ...], dict[int, datetime]] = defaultdict(dict)
    for *names, generation, last in connection.execute(query):
        found[tuple(names)][generation] = utc(last)
    for key, generations in found.items():
        newest = sorted(generations, reverse=True)
        age = datetime.now(UTC) - max(generations.values())
        old = cleaning.older_than is not None and age > cleaning.older_than
        this = and_(*(column == name for column, name in zip(series, key, strict=True)))
        for generation in newest if old else newest[cleaning.keep_generations :]:
            yield and_(this, rounds.c.generation == generation)


def _remove(connection: Connection, condemned: list[ColumnElement[bool]]) -> tuple[int, int]:
    """Removes rounds, and sentinels of processes whose rounds are all gone; counts both."""
    gone = beside = 0
    sessions: set[tuple[str, ...]] = set()
    columns = (rounds.c.environment, rounds.c.protocol, rounds.c.session)
    for condition in condemned:
        found = connection.execute(select(*columns).where(condition).distinct())
        sessions.update(tuple(row) for row in found)
        gone += connection.execute(delete(rounds).where(condition)).rowcount
    for environment, protocol, session in sorted(sessions):
        left, theirs = (
            and_(
                table.c.environment == environment,
                table.c.protocol == protocol,
                table.c.session == session,
            )
            for table in (rounds, sentinels)
        )
        if connection.scalar(select(func.count()).select_from(rounds).where(left)) == 0:
            beside += connection.execute(delete(sentinels).where(theirs)).rowcount
    return gone, beside


def _given_back(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, before - after)
