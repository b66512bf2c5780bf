"""Which models are measured first where the time does not suffice for all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from profilers.protocol import Protocol
from targets.errors import UsageError

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
        """What it takes where every measurement runs to the protocol's limits.

        The warm-up has `max_seconds` of its own. Only models whose six inferences take longer than
        that are slower.
        """
        each = _LOAD_SECONDS + protocol.warmup_seconds + 2 * protocol.max_seconds
        return cls(_START_SECONDS + SENTINELS * each, each)

    def seconds(self, rounds: int, measurements: int) -> float:
        """How long some rounds take, with so many models in them all together."""
        return rounds * self.round_seconds + measurements * self.model_seconds


@dataclass(frozen=True, slots=True)
class Limit:
    """How long measuring may take, and what matters most then.

    Attributes:
        seconds: None: as long as it takes.
        priority: How much it matters to know a model's cost, by its key, on any scale; those that
            are not named have 0.
    """

    seconds: float | None = None
    priority: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks that there is some time, and not for ever."""
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise UsageError(
                f"Cannot profile with a time limit of {self.seconds} s. Give seconds above 0, or "
                f"no limit to measure everything."
            )

    def order(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Keys with the highest priority first; equals keep their order."""
        return tuple(sorted(keys, key=lambda key: -self.priority.get(key, 0.0)))


def choose(missing: Mapping[str, int], limit: Limit, pace: Pace, seconds: float) -> tuple[str, ...]:
    """The models of highest priority whose missing rounds fit into a time by a pace, together.

    Args:
        missing: Rounds that each model lacks.
        limit: What matters most.
        pace: How long things take.
        seconds: The time that is left; infinite where there is no limit.

    Returns:
        Keys, highest priority first: as many as fit, with none left out in between.
    """
    chosen: list[str] = []
    rounds = measurements = 0
    for key in limit.order(missing):
        rounds, measurements = max(rounds, missing[key]), measurements + missing[key]
        if pace.seconds(rounds, measurements) > seconds:
            break
        chosen.append(key)
    return tuple(chosen)
