"""Which models are measured first where the time does not suffice for all."""

from collections.abc import Mapping
from dataclasses import dataclass

from profilers.protocol import Protocol

SENTINELS = 3
"""Measurements of the sentinel in every round."""

_START_SECONDS = 1.5
_LOAD_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that profiling takes.

    Attributes:
        round_seconds: Of a round beside its models: a process starts and measures the sentinel.
        model_seconds: Of one model in one round.
    """

    round_seconds: float
    model_seconds: float

    @classmethod
    def slowest(cls, protocol: Protocol) -> "Pace":
        """What it takes where every measurement runs to the protocol's limit."""
        each = _LOAD_SECONDS + protocol.warmup_seconds + protocol.max_seconds
        return cls(_START_SECONDS + SENTINELS * each, each)

    def seconds(self, rounds: int, measurements: int) -> float:
        """How long some rounds take, with so many models in them all together."""
        return rounds * self.round_seconds + measurements * self.model_seconds


def by_priority(keys: Mapping[str, int], priority: Mapping[str, float]) -> tuple[str, ...]:
    """Keys with the highest priority first, 0 where there is none; equals keep their order."""
    return tuple(sorted(keys, key=lambda key: -priority.get(key, 0.0)))


def choose(
    missing: Mapping[str, int], priority: Mapping[str, float], pace: Pace, seconds: float
) -> tuple[str, ...]:
    """The models of highest priority whose missing rounds fit into a time, together.

    Args:
        missing: Rounds that each model lacks.
        priority: How much it matters to know each model's cost; any scale.
        pace: How long things take.
        seconds: The time there is.

    Returns:
        Keys, highest priority first: as many as fit, with none left out in between.
    """
    chosen: list[str] = []
    rounds = measurements = 0
    for key in by_priority(missing, priority):
        rounds, measurements = max(rounds, missing[key]), measurements + missing[key]
        if pace.seconds(rounds, measurements) > seconds:
            break
        chosen.append(key)
    return tuple(chosen)
