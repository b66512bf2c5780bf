"""SimilarityTable: how alike the activations at any two boundaries of a zoo are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from targets.errors import UsageError

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ModelNodes:
    """The nodes of one donor, as partitions count them.

    A donor of n nodes has n + 1 boundaries: number 0 before its first node, number i after its
    i-th. A block of nodes a..b (0-based, inclusive) begins at boundary a and ends at b + 1.

    Attributes:
        name: the donor.
        nodes: names of its nodes, in order.
        params: parameters of each node.
    """

    name: str
    nodes: tuple[str, ...]
    params: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse a donor without nodes, or with counts for others."""
        if not self.nodes or len(self.nodes) != len(self.params):
            raise UsageError(
                f"{self.name} has {len(self.nodes)} nodes and {len(self.params)} parameter "
                "counts: give at least one node, and one count for each."
            )

    def __len__(self) -> int:
        return len(self.nodes)


@dataclass(frozen=True, slots=True)
class SimilarityTable:
    """Similarities of all pairs of boundaries, symmetric, by donor.

    Attributes:
        models: the donors, in the table's order.
        values: (T, T) with T the number of all boundaries, those of the first donor first.
        measure: what was computed: `linear_cka`, `rbf_cka`, `linear_regression`.
    """

    models: tuple[ModelNodes, ...]
    values: Float
    measure: str = "linear_cka"

    def __post_init__(self) -> None:
        """Refuse values that do not belong to the donors."""
        total = sum(len(model) + 1 for model in self.models)
        if self.values.shape != (total, total) or not np.isfinite(self.values).all():
            raise UsageError(
                f"The similarities of {len(self.models)} donors with {total} boundaries must be "
                f"{total} x {total} finite numbers; there are {self.values.shape}."
            )

    @property
    def offsets(self) -> tuple[int, ...]:
        """Row of every donor's boundary 0."""
        sizes = [len(model) + 1 for model in self.models]
        return tuple(int(start) for start in np.concatenate([[0], np.cumsum(sizes)[:-1]]))

    def between(self, first: int, second: int) -> Float:
        """Similarities of the boundaries of donors number `first` and `second`, (n + 1, m + 1)."""
        a, b = self.offsets[first], self.offsets[second]
        rows, columns = len(self.models[first]) + 1, len(self.models[second]) + 1
        return self.values[a : a + rows, b : b + columns]
