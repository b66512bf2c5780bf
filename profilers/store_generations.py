"""Generations where two stores become one: which rounds are newer is told by time, not by number.

A generation's number is counted by the store that it was measured into. Of two stores, one may have
been measured afresh last year and the other, for the first time, today.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime


class Generations:
    """The generations of one series (a model, environment and protocol) in all its stores.

    A generation above 0 replaces what was measured before it began, wherever that was; what was
    measured later in another store belongs to it.
    """

    def __init__(self) -> None:
        """Knows none."""
        self._begun: dict[tuple[int, int], datetime] = {}

    def add(self, store: int, generation: int, measured: datetime) -> None:
        """Tells of a round.

        Args:
            store: Which of the stores has it.
            generation: Its number there.
            measured: When it was kept.
        """
        known = self._begun.get((store, generation))
        self._begun[store, generation] = measured if known is None else min(known, measured)

    def numbers(self, measured: Iterable[datetime]) -> list[int]:
        """The generation of rounds that were measured at these times, in the united store.

        No number grows beyond the largest that a store has, unless there are more generations.
        """
        replaced = sorted({time for (_, number), time in self._begun.items() if number > 0})
        highest = max((number for _, number in self._begun), default=0)
        least = max(0, highest - len(replaced))
        return [least + bisect_right(replaced, time) for time in measured]


def by_series() -> defaultdict[tuple[str, ...], Generations]:
    """Generations by series, none yet."""
    return defaultdict(Generations)
