"""What a cost store holds, counted: environments, models, rounds, and how much room they take."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, cast, func, select

from profilers.environment import Environment
from profilers.measurement import Measurement
from profilers.store import CostStore
from profilers.tables import rounds, utc
from targets.errors import UnknownNameError, UsageError


@dataclass(frozen=True, slots=True)
class EnvironmentSummary:
    """What was measured in one environment.

    Attributes:
        environment: The machine, its settings and the runtime.
        models: Different models.
        rounds: Rounds of all of them, older generations included.
        last_measured: When the last round was kept; None: no round is left.
        sample_bytes: Room that the samples take.
    """

    environment: Environment
    models: int = 0
    rounds: int = 0
    last_measured: datetime | None = None
    sample_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """What a store holds.

    Attributes:
        where: Its file or URL, without a password.
        size_bytes: Room that it takes; None where the database does not tell.
        environments: Oldest first.
    """

    where: str
    size_bytes: int | None
    environments: tuple[EnvironmentSummary, ...]


def summarize(store: CostStore) -> StoreSummary:
    """Counts what a store holds."""
    query = select(
        rounds.c.environment,
        func.count(rounds.c.key.distinct()),
        func.count(),
        func.max(rounds.c.measured),
        func.sum(func.length(cast(rounds.c.samples, String))),
    ).group_by(rounds.c.environment)
    with store.transaction() as connection:
        counts = {row[0]: row[1:] for row in connection.execute(query)}
    found = []
    for environment in store.environments():
        models, count, last, size = counts.get(environment.fingerprint, (0, 0, None, 0))
        summary = EnvironmentSummary(environment, models, count, last and utc(last), int(size))
        found.append(summary)
    return StoreSummary(store.where, store.size_bytes(), tuple(found))


def find_environment(store: CostStore, fingerprint: str | None) -> Environment:
    """The environment whose fingerprint begins like this; None: the only one there is.

    Raises:
        UsageError: There is none, or more than one.
    """
    known = {environment.fingerprint: environment for environment in store.environments()}
    found = [name for name in known if name.startswith(fingerprint or "")]
    if len(found) == 1:
        return known[found[0]]
    if not known:
        raise UsageError(
            f"The cost store {store.where!r} holds no measurements yet. Run 'derycc profile' first."
        )
    if not found:
        raise UnknownNameError("environment", fingerprint or "", known)
    listed = ", ".join(f"{name} ({known[name].target})" for name in sorted(found))
    raise UsageError(
        f"{'The store holds' if fingerprint is None else f'{fingerprint!r} fits'} "
        f"{len(found)} environments: {listed}. Name one of them by its fingerprint."
    )


def models_of(
    store: CostStore, environment: Environment, like: str = ""
) -> Mapping[str, Measurement]:
    """Measurements in an environment whose name or key contains a text, by key, sorted by name."""
    costs = store.measurements(environment).values()
    chosen = [cost for cost in costs if like in cost.name or like in cost.key]
    return {cost.key: cost for cost in sorted(chosen, key=lambda cost: (cost.name, cost.key))}
