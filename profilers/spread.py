"""`spread`: a few of many, evenly over their order."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_Item = TypeVar("_Item")


def spread(items: Sequence[_Item], count: int) -> tuple[_Item, ...]:
    """At most `count` of some items, evenly spread over their order.

    Both ends are included; of one the middle is taken.
    """
    if len(items) <= count:
        return tuple(items)
    last = len(items) - 1
    places = np.linspace(0, last, count) if count > 1 else np.array([last / 2])
    return tuple(items[place] for place in places.round().astype(int).tolist())
