"""Whether a cost table still holds: its measurements beside new ones of some of its models."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from profilers.measurement import Measurement
from profilers.spread import spread
from targets.errors import UsageError

TOLERANCE = 0.03
"""A model that is surely slower or faster by more than this share has moved."""
MOST_MOVED = 1 / 3
"""If more than this share of the models has moved, the table holds no longer."""
VAGUE = 0.10
"""If all models together may be off by more than this share, nothing can be said."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One model's time now as a multiple of its time in the table.

    Attributes:
        then: What the table says.
        now: What was measured now.
    """

    then: Measurement
    now: Measurement

    @property
    def ratio(self) -> float:
        """1.0: as the table says; above: slower."""
        return self.now.median_us / self.then.median_us

    @property
    def interval(self) -> tuple[float, float]:
        """What the ratio can be if both medians lie anywhere in their intervals."""
        low, high = self.now.interval_us
        least, most = self.then.interval_us
        return low / most, high / least if least > 0 else float("inf")

    @property
    def moved(self) -> bool:
        """Whether the whole interval lies beyond the tolerance."""
        low, high = self.interval
        return low > 1 + TOLERANCE or high < 1 - TOLERANCE


@dataclass(frozen=True, slots=True)
class Validity:
    """What new measurements say of a table.

    Attributes:
        shifts: The models that were measured again.
    """

    shifts: tuple[Shift, ...]

    def __post_init__(self) -> None:
        """Checks that there is something to judge by."""
        if not self.shifts:
            raise UsageError(
                "There is nothing to compare: none of the models that were measured now is in the "
                "cost store. Run 'derycc profile' with the same donors and target first."
            )

    @property
    def ratio(self) -> float:
        """The median model's time now as a multiple of its time in the table."""
        return median(shift.ratio for shift in self.shifts)

    @property
    def interval(self) -> tuple[float, float]:
        """What the ratio can be.

        A median grows with each of its values, so by interval arithmetic (Moore 1966) that of
        intervals reaches from the median of their lower ends to the median of their upper ends.
        """
        lows, highs = zip(*(shift.interval for shift in self.shifts), strict=True)
        return median(lows), median(highs)

    @property
    def off(self) -> float:
        """By how large a share the table may be off, at most, for the median model."""
        low, high = self.interval
        return max(1 - low, high - 1, 0.0)

    @property
    def moved(self) -> tuple[Shift, ...]:
        """Models that are surely slower or faster than the table says."""
        return tuple(shift for shift in self.shifts if shift.moved)

    @property
    def verdict(self) -> str:
        """`valid`, `not valid`, or `unclear` where the intervals are too wide to tell.

        Not valid is a table of which the median model has moved, or more than a third of them.
        """
        low, high = self.interval
        surely = low > 1 + TOLERANCE or high < 1 - TOLERANCE
        if surely or len(self.moved) > MOST_MOVED * len(self.shifts):
            return "not valid"
        return "unclear" if self.off > VAGUE else "valid"

    @property
    def text(self) -> str:
        """The verdict as a sentence that says what to do."""
        if self.verdict == "valid":
            return f"still valid to +-{100 * self.off:.1f} %"
        if self.verdict == "unclear":
            return (
                f"cannot tell: now and then agree only to +-{100 * self.off:.0f} %; close other "
                f"programs, or check more blocks"
            )
        change = self.ratio - 1
        if abs(change) < TOLERANCE:
            what = f"{len(self.moved)} of {len(self.shifts)} blocks have changed"
        else:
            what = f"{100 * abs(change):.0f} % {'slower' if change > 0 else 'faster'}"
        return f"no longer valid: {what}; profile again with --fresh"


def compare(then: Mapping[str, Measurement], now: Mapping[str, Measurement]) -> Validity:
    """Judges a table by new measurements of some of its models.

    Args:
        then: The table's measurements, by key.
        now: New ones, by key; the table need not have all of them.

    Raises:
        UsageError: They have no model in common.
    """
    common = sorted(set(then) & set(now))
    return Validity(tuple(Shift(then[key], now[key]) for key in common))


def probes(costs: Mapping[str, Measurement], count: int) -> tuple[str, ...]:
    """Keys of so many models, from the fastest to the slowest at even steps, noisy ones last.

    Raises:
        UsageError: The count is below 1.
    """
    if count < 1:
        raise UsageError(f"Cannot check {count} blocks. Check at least 1.")
    quiet = [cost for cost in costs.values() if not cost.noisy]
    chosen = quiet if len(quiet) >= count else list(costs.values())
    ordered = sorted(chosen, key=lambda cost: (cost.median_us, cost.key))
    return tuple(cost.key for cost in spread(ordered, count))
