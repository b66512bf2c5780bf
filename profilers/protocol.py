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
_WHOLE = ("rounds", "max_rounds", "min_units", "seed")

TIMING = 2
"""Raised whenever `profilers.timing` begins to give other samples by the same protocol. Rounds of
another number are kept but not used. 1: a slow model got three units; 2: at least six."""

_FURTHER = 2.5


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a model is measured; see `profilers.timing.measure` for the loop that follows it.

    Attributes:
        rounds: Fresh processes in which every model is measured once.
        unit_seconds: Consecutive inferences are timed together until a unit lasts this long.
        warmup_seconds: Least inference before the first unit that counts, per model and round; it
            goes on until two halves of the last units agree, for at most `max_seconds` longer.
        min_units: Units of a model in a round, unless the time runs out first; at least 6, whatever
            the time, because of fewer no interval is known.
        target_half_width: A round stops when the 95 % interval of its median is this narrow,
            as a share of the median to each side.
        max_seconds: Measuring time of a model in a round, without its warm-up; a round that
            ends this way above the target is marked capped.
        seed: Seeds the order of the models and their inputs.
        max_rounds: Rounds beyond `rounds`, up to this many in all, are spent at the end of a run
            on those of its models whose interval over the rounds is wider than
            `further_half_width`.
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
        for name in _WHOLE:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise UsageError(f"Cannot measure with {name}={value!r}. Use a whole number.")
        for name in _POSITIVE:
            value = getattr(self, name)
            if not isfinite(value) or value <= 0:
                raise UsageError(f"Cannot measure with {name}={value}. Use a number above 0.")
        if not isfinite(self.warmup_seconds) or self.warmup_seconds < 0 or self.seed < 0:
            raise UsageError(
                f"Cannot measure with warmup_seconds={self.warmup_seconds} and seed={self.seed}. "
                f"Use finite numbers from 0 up."
            )
        if self.max_rounds < self.rounds:
            raise UsageError(
                f"Cannot measure with rounds={self.rounds} and max_rounds={self.max_rounds}. Use "
                f"at least as many max_rounds as rounds."
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
    def further_half_width(self) -> float:
        """Share of the median from which on an interval is worth further rounds.

        2.5 times the target: 5 % by default. Student's interval of three rounds is that wide where
        their medians scatter by 2 %; after five it is half as wide. From the target itself on,
        which takes a scatter below 0.8 %, most models would be measured five times, and only from
        the label of noise on, twice as wide, too many would stay vague.
        """
        return _FURTHER * self.target_half_width

    @property
    def digest(self) -> str:
        """Identifies what a round's samples depend on: these numbers, and what follows them.

        The number of rounds is not part of it.
        """
        content = {name: value for name, value in asdict(self).items() if name not in _COUNTS}
        content["timing"] = TIMING
        text = json.dumps({name: float(value) for name, value in content.items()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
