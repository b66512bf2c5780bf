"""`Protocol`: how long and how often something is measured."""

import hashlib
import json
from dataclasses import asdict, dataclass
from math import isfinite

from targets.errors import UsageError

_POSITIVE = (
    "rounds",
    "max_rounds",
    "min_units",
    "unit_seconds",
    "target_half_width",
    "max_seconds",
)
_COUNTS = frozenset({"rounds", "max_rounds"})


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a model is measured; see `profilers.timing.measure` for the loop that follows it.

    Attributes:
        rounds: Fresh processes in which every model is measured once.
        unit_seconds: Consecutive inferences are timed together until a unit lasts this long.
        warmup_seconds: Least inference before the first unit that counts, per model and round; it
            goes on until two halves of the last units agree, for at most `max_seconds` longer.
        min_units: Units of a model in a round, unless the time runs out first.
        target_half_width: A round stops when the 95 % interval of its median is this narrow,
            as a share of the median to each side.
        max_seconds: Measuring time of a model in a round, without its warm-up; a round that
            ends this way above the target is marked capped.
        seed: Seeds the order of the models and their inputs.
        max_rounds: Rounds beyond `rounds`, up to this many in all, are spent at the end of a run
            on those of its models whose interval over the rounds is still so wide that they would
            be labelled noisy.
    """

    rounds: int = 3
    unit_seconds: float = 0.005
    warmup_seconds: float = 0.05
    min_units: int = 8
    target_half_width: float = 0.02
    max_seconds: float = 0.25
    seed: int = 0
    max_rounds: int = 5

    def __post_init__(self) -> None:
        """Checks that every number can be followed."""
        for name in _POSITIVE:
            value = getattr(self, name)
            if not isfinite(value) or value <= 0:
                raise UsageError(f"Cannot measure with {name}={value}. Use a number above 0.")
        if not isfinite(self.warmup_seconds) or self.warmup_seconds < 0 or self.seed < 0:
            raise UsageError(
                f"Cannot measure with warmup_seconds={self.warmup_seconds} and seed={self.seed}. "
                f"Use finite numbers from 0 up."
            )

    @classmethod
    def quick(cls) -> "Protocol":
        """About a fifth of the time of the default, for a first look; its intervals are wider."""
        return cls(
            unit_seconds=0.002,
            warmup_seconds=0.01,
            min_units=5,
            target_half_width=0.05,
            max_seconds=0.05,
        )

    @property
    def digest(self) -> str:
        """Identifies what a round's samples depend on; the number of rounds is not part of it."""
        content = {name: value for name, value in asdict(self).items() if name not in _COUNTS}
        text = json.dumps({name: float(value) for name, value in content.items()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
