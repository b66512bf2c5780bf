"""Verdicts: which of two engines is faster, by what was measured of both in the same rounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log, sqrt
from statistics import fmean

import numpy as np

from profilers.measurement import CONFIDENCE
from targets.errors import UsageError

SAME_WITHIN = 0.02
"""A ratio whose whole interval is this close to 1 is no difference that matters."""
LEAST_ROUNDS = 3
_RESAMPLES = 10_000


class Verdict(StrEnum):
    """What a ratio says of the first of two engines."""

    SAME = "SAME"
    FASTER = "FASTER"
    SLOWER = "SLOWER"
    AMBIGUOUS = "AMBIGUOUS"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times the time of one engine another takes.

    Attributes:
        value: geometric mean over the rounds of the other's time over this one's: above 1 where
            this one is faster.
        low: lower end of its 95 percent interval.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """What it says of this engine beside the other."""
        if self.low >= 1 / (1 + SAME_WITHIN) and self.high <= 1 + SAME_WITHIN:
            return Verdict.SAME
        if self.low > 1:
            return Verdict.FASTER
        return Verdict.SLOWER if self.high < 1 else Verdict.AMBIGUOUS


def ratio(mine: Sequence[float], others: Sequence[float]) -> Ratio:
    """The ratio of two engines that were measured in the same rounds.

    In a round both were measured within seconds of each other, so that what drifts from round to
    round drops out of its ratio. The interval is the bootstrap's over rounds: 10,000 times as
    many rounds are drawn with replacement, and the 2.5 and 97.5 percentiles of the mean of their
    logarithms are taken, spread by sqrt(n / (n - 1)) since few rounds scatter less than many.

    Args:
        mine: seconds of this engine in each round.
        others: seconds of the other in the same rounds.

    Raises:
        UsageError: there are fewer than three rounds, or not as many of both.
    """
    if len(mine) != len(others) or len(mine) < LEAST_ROUNDS:
        raise UsageError(
            f"Cannot compare {len(mine)} rounds of one engine with {len(others)} of another. "
            f"Measure both in the same rounds, at least {LEAST_ROUNDS}."
        )
    logs = np.array([log(b / a) for a, b in zip(mine, others, strict=True)])
    count, middle = len(logs), fmean(logs.tolist())
    drawn = np.random.default_rng(0).integers(0, count, (_RESAMPLES, count))
    means = (logs[drawn].mean(1) - middle) * sqrt(count / (count - 1)) + middle
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(means, [tail, 100 - tail]).tolist()
    return Ratio(exp(middle), exp(min(low, middle)), exp(max(high, middle)))
