"""`spread`: a few of many, evenly over their order."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_Item = TypeVar("_Item")


def spread(items: Sequence[_Item], count: int) -> tuple[_Item, ...]:
    """At most `count` of some items, evenly spread over their order, both ends included."""
    if len(items) <= count:
        return tuple(items)
    picks = np.linspace(0, len(items) - 1, count).round().astype(int)
    return tuple(items[pick] for pick in dict.fromkeys(picks.tolist()))
