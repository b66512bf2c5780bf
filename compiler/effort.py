"""Effort: how many networks a search may build, how many between two solves, and in what time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from targets.errors import UsageError

MAX_CANDIDATES = 6


@dataclass(frozen=True, slots=True)
class Effort:
    """What a search may spend.

    Attributes:
        candidates: most networks to build, the best whole donor not counted.
        per_round: networks to build between two solves; 1: each corrects the choice of the next.
        seconds: wall time for solving, building and measuring; None: all that it takes.
    """

    candidates: int = MAX_CANDIDATES
    per_round: int = 1
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse what nothing could be built with."""
        if self.candidates < 1:
            raise UsageError(f"Asked for {self.candidates} candidates. Ask for 1 or more.")
        if self.per_round < 1:
            raise UsageError(f"Asked for {self.per_round} networks a round. Ask for 1 or more.")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise UsageError(
                f"The time to build in is {self.seconds} s. Give a positive number of seconds, or "
                "leave it out."
            )


class Watch:
    """The time of one search, from when it is made."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._start = monotonic()

    @property
    def left(self) -> float:
        """Seconds that are left; infinite without a limit, and below 0 once it has passed."""
        return math.inf if self._seconds is None else self._start + self._seconds - monotonic()

    def allows(self, before: Sequence[float]) -> bool:
        """Whether another candidate is expected to be finished in time.

        Args:
            before: seconds that earlier candidates took. It is expected to take as long as the
                slowest of them; without any, one is always tried.
        """
        if self._seconds is None or not before:
            return True
        return monotonic() - self._start + max(before) <= self._seconds
