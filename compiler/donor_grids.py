"""Donor grids: at which input size a donor has, at one of its nodes, the grid that arrives there.

Where a segment is fed by another network, the grid that arrives need not be the one that its donor
sees at the recipe's input size. A block holds for one size alone, so the donor is cut at the size
at which the block's grid is the one that arrives: the grid times the stride of the boundary.
"""

from collections.abc import Iterator

from compiler.boundary import Boundary
from compiler.dissection import OUTPUT, Cut, Dissection
from compiler.donors import Donors
from targets.errors import UnknownNameError, UsageError, ZooError

_CORRECTIONS = 3
_MOST_GOALS = 24


class DonorGrids:
    """The donors of one recipe, each cut at the sizes that are needed."""

    def __init__(self, donors: Donors, input_size: int) -> None:
        """Take the donors, and the recipe's input size in pixels."""
        self.donors = donors
        self.input_size = input_size
        self._refused: set[tuple[str, int]] = set()

    def own(self, model: str) -> Dissection:
        """The donor at the recipe's input size; at its own where it refuses that one.

        Raises:
            ZooError: it cannot be cut at either.
        """
        found = self._dissection(model, self.input_size)
        if found is not None:
            return found
        return self.donors.dissection(model, self.donors.model(model).preprocessing.input_size)

    def at(self, model: str, first: str, side: int) -> Dissection:
        """The donor at the size at which node `first` takes a grid of `side` positions a side.

        Where there is no such size, the size whose grid is the nearest to it.
        """
        own = self.own(model)
        start = start_of(own, first)
        have = Boundary.at(start, model).side
        for goal in _goals(side, have):
            found = own if goal == have else self._with_side(model, first, start, goal)
            if found is not None:
                return found
        return own

    def _with_side(self, model: str, first: str, start: Cut, side: int) -> Dissection | None:
        size = side * start.stride
        for _ in range(_CORRECTIONS):
            found = self._dissection(model, size)
            got = _side(found, first, start, model)
            if got is None or got == side:
                return found if got else None
            size += (side - got) * start.stride
        return None

    def _dissection(self, model: str, size: int) -> Dissection | None:
        if size < 1 or (model, size) in self._refused:
            return None
        try:
            return self.donors.dissection(model, size)
        except ZooError:
            self._refused.add((model, size))
            return None


def start_of(dissection: Dissection, first: str) -> Cut:
    """The cut before a node; for "output" the one before the donor's head."""
    return dissection.boundaries[-1] if first == OUTPUT else dissection.node(first).start


def _side(found: Dissection | None, first: str, like: Cut, model: str) -> int | None:
    """The grid at a node; None where the donor has no such boundary at this size."""
    if found is None:
        return None
    try:
        boundary = Boundary.at(start_of(found, first), model)
    except (UnknownNameError, UsageError):
        return None
    same = (boundary.layout, boundary.channels) == (like.tensor.layout, like.channels)
    return boundary.side if same else None


def _goals(side: int, have: int) -> Iterator[int]:
    """Grids to try: the one that arrives, then the nearest, the finer first, until `have`."""
    yield side
    for step in range(1, min(abs(have - side), _MOST_GOALS) + 1):
        yield side + step
        if side > step:
            yield side - step
