"""`Measurement`: what was measured of one model on one target, with its statistics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import comb, inf, sqrt
from statistics import mean, median, stdev

import numpy as np
from scipy.special import stdtrit

from targets.errors import UsageError

CONFIDENCE = 0.95
"""Level of every interval."""
NORMAL_95 = 1.96
"""Half-width of a normal 95 percent interval in standard errors."""
NOISY_HALF_WIDTH = 0.10
"""A measurement with a wider interval, as a share of its median to each side, is noisy."""
NOISY_CONTENTION = 0.10
"""A measurement with more contention than this share of its time is noisy."""

_MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Measurement:
    """Raw samples of one model, round by round; statistics are properties, in microseconds.

    Attributes:
        key: The model's `structure`.
        name: A name for people.
        rounds: For each round, seconds per inference of each timed unit, as the clock gave them.
        load_seconds: For each round, seconds that loading the model took.
        capped: Whether the time of any round ran out before its interval was narrow enough.
        scales: For each round, the factor by which the sentinel corrects its samples;
            empty where nothing drifted.
        peak_bytes: Memory that loading and running took at most; None where it is not known.
        joules: Energy of one inference; None where it is not known.
        contention: Largest `profilers.contention.Load.contention` of any round; None where it is
            not known.
        drift: Largest share by which the sentinel of any round was slower or faster than usual
            all through, where that was too much to correct; None where it was not.
    """

    key: str
    name: str
    rounds: tuple[tuple[float, ...], ...]
    load_seconds: tuple[float, ...]
    capped: bool
    scales: tuple[float, ...] = ()
    peak_bytes: int | None = None
    joules: float | None = None
    contention: float | None = None
    drift: float | None = None

    def __post_init__(self) -> None:
        """Checks that there is something to take a median of."""
        if not self.rounds or any(not samples for samples in self.rounds):
            raise UsageError(f"The measurement of {self.name!r} has a round without samples.")
        if not all(0 < sample < float("inf") for samples in self.rounds for sample in samples):
            raise UsageError(
                f"The measurement of {self.name!r} has samples that are no positive, finite "
                f"seconds. Measure the model again."
            )
        if self.scales and len(self.scales) != len(self.rounds):
            raise UsageError(
                f"The measurement of {self.name!r} has {len(self.rounds)} rounds but "
                f"{len(self.scales)} drift corrections."
            )
        for name in ("peak_bytes", "joules", "contention", "drift"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < inf:
                raise UsageError(
                    f"The measurement of {self.name!r} has {name}={value}, which is no number from "
                    f"0 up. Measure the model again."
                )

    @property
    def n(self) -> int:
        """Number of samples in all rounds."""
        return sum(len(samples) for samples in self.rounds)

    @property
    def raw(self) -> "Measurement":
        """As the clock gave it, without the sentinel's correction: what promises are kept by."""
        return replace(self, scales=())

    @property
    def median_us(self) -> float:
        """Median of the rounds' medians, so that a long round does not outvote a short one."""
        return median(self._round_medians())

    @property
    def mad_us(self) -> float:
        """Median absolute deviation of all samples from their median."""
        pooled = self._pooled()
        return float(np.median(np.abs(pooled - np.median(pooled))))

    @property
    def p90_us(self) -> float:
        """90th percentile of all samples."""
        return float(np.percentile(self._pooled(), 90))

    @property
    def p99_us(self) -> float:
        """99th percentile of all samples."""
        return float(np.percentile(self._pooled(), 99))

    @property
    def interval_us(self) -> tuple[float, float]:
        """95 % confidence interval (low, high) of the median.

        Rounds are fresh processes, and what differs between them is part of the error. From two
        rounds on this is Student's interval of the rounds' medians, widened to contain the
        order-statistic interval of all samples; one round alone has only the latter.
        """
        low, high = median_interval(self._pooled().tolist())
        medians = self._round_medians()
        center = self.median_us
        if len(medians) == 1:
            return min(low, center), max(high, center)
        half = _student(len(medians) - 1) * stdev(medians) / sqrt(len(medians))
        middle = mean(medians)
        return max(0.0, min(low, center, middle - half)), max(high, center, middle + half)

    @property
    def standard_error_us(self) -> float:
        """Standard error of the median: that of the mean of the rounds' medians.

        At least what the order-statistic interval of all samples says, which is all that one round
        knows. It is not half of `interval_us` divided by 1.96: of few rounds Student's interval is
        wider than that by the uncertainty of the error itself.
        """
        low, high = median_interval(self._pooled().tolist())
        least = (high - low) / 2 / NORMAL_95
        medians = self._round_medians()
        return max(least, stdev(medians) / sqrt(len(medians))) if len(medians) > 1 else least

    @property
    def upper_us(self) -> float:
        """Upper end of the interval."""
        return self.interval_us[1]

    @property
    def relative_half_width(self) -> float:
        """Half of the interval's width as a share of the median."""
        low, high = self.interval_us
        return (high - low) / 2 / self.median_us

    @property
    def noise(self) -> str | None:
        """Why to distrust it, for people; None where nothing speaks against it."""
        reasons = []
        if self.capped:
            reasons.append("time ran out")
        if self.relative_half_width > NOISY_HALF_WIDTH:
            reasons.append(f"interval wider than {NOISY_HALF_WIDTH:.0%}")
        if (self.contention or 0.0) > NOISY_CONTENTION:
            reasons.append(
                f"processors were waited for or used by others {self.contention:.0%} of the time"
            )
        if self.drift is not None:
            reasons.append(f"the machine was {self.drift:.0%} off its usual speed")
        return ", ".join(reasons) or None

    @property
    def noisy(self) -> bool:
        """Whether to distrust it; `noise` says why."""
        return self.noise is not None

    def _scaled(self) -> list[list[float]]:
        scales = self.scales or (1.0,) * len(self.rounds)
        return [
            [sample * scale * _MICRO for sample in samples]
            for samples, scale in zip(self.rounds, scales, strict=True)
        ]

    def _round_medians(self) -> list[float]:
        return [median(samples) for samples in self._scaled()]

    def _pooled(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.concatenate([np.asarray(samples) for samples in self._scaled()])


def median_interval(samples: Sequence[float]) -> tuple[float, float]:
    """The 95 % order-statistic interval of the median; fewer than 6 samples give their range."""
    ordered = sorted(samples)
    rank = _rank(len(ordered))
    return ordered[rank], ordered[-1 - rank]


@lru_cache(maxsize=4096)
def _rank(n: int) -> int:
    """How many samples are left out at each end: P(Binomial(n, 1/2) <= rank) is at most 2.5 %."""
    limit = Fraction(1 - CONFIDENCE) / 2 * 2**n
    rank, below = 0, 1 + n
    while below <= limit:
        rank += 1
        below += comb(n, rank + 1)
    return rank


@lru_cache(maxsize=64)
def _student(freedom: int) -> float:
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
