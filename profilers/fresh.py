"""Where a run begins that measures everything anew: at a new generation, or in one that was cut."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from profilers.environment import Environment
from profilers.protocol import Protocol
from profilers.store import CostStore, RoundsDone

RESUMED = timedelta(days=1)
"""A fresh run that was cut short longer ago is not gone on with."""


def fresh_start(
    store: CostStore,
    environment: Environment,
    protocol: Protocol,
    have: Mapping[str, RoundsDone],
) -> dict[str, RoundsDone]:
    """What counts as done of each model for a fresh run.

    All models of a run get one generation, newer than any of theirs. If that was opened less than a
    day ago and a model has some of its rounds in it but not all, its run was cut short: this one
    goes on in it, and what is missing of it is measured.

    Args:
        store: Where rounds are kept.
        environment: What is measured in.
        protocol: How it is measured.
        have: What there is of every model of the run.
    """
    newest = max((done.generation for done in have.values()), default=0)
    inside = [key for key, done in have.items() if done.generation == newest]
    cut = newest > 0 and any(0 < have[key].rounds < protocol.rounds for key in inside)
    begun = store.begun(environment, protocol, inside, newest) if cut else None
    if begun is None or datetime.now(UTC) - begun > RESUMED:
        newest += 1
    return {
        key: done if done.generation == newest else RoundsDone(newest, 0, done.next_index)
        for key, done in have.items()
    }
