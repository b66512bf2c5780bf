"""`Part` and `Chain`: a network as the row of blocks and stitches that it is predicted from."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from profilers.measurement import Measurement
from targets.errors import UsageError

Kind = Literal["block", "stitch"]


@dataclass(frozen=True, slots=True)
class Part:
    """A block or a stitch as a link of a chain: what its latency is found under and depends on.

    Attributes:
        key: identifies what is measured alone; equal parts have equal keys.
        kind: what an estimate for it may be learned from.
        macs: multiply-accumulates of its convolutions and matrix products.
        weight_bytes: bytes of its constants; of a stitch those of its weights and biases.
        nodes: operators of its graph.
        input_bytes: bytes that come in.
        output_bytes: bytes that go out.
        joined: whether it was multiplied into an operator of a neighbour: then it has no operator,
            edge or engine of its own, and says by how much that operator grows, which may be
            negative.
    """

    key: str
    kind: Kind
    macs: int
    weight_bytes: int
    nodes: int
    input_bytes: int
    output_bytes: int
    joined: bool = False

    @property
    def edge_bytes(self) -> int:
        """Bytes that cross its two edges."""
        return self.input_bytes + self.output_bytes


Chain = tuple[Part, ...]
"""The parts of a network, from its input to its output."""


def inner_bytes(chain: Chain) -> int:
    """Bytes that cross edges inside a chain, once as an output and once as an input."""
    return sum(part.edge_bytes for part in chain) - chain[0].input_bytes - chain[-1].output_bytes


@dataclass(frozen=True, slots=True)
class Cost:
    """A latency and its standard error, both in microseconds."""

    median_us: float
    error_us: float

    def __post_init__(self) -> None:
        """Checks that it can be calculated with."""
        if not (isfinite(self.median_us) and self.median_us > 0 and self.error_us >= 0):
            raise UsageError(
                f"A latency of {self.median_us} us with a standard error of {self.error_us} us "
                f"cannot be predicted from. Measure the model again."
            )

    @staticmethod
    def of(measurement: Measurement) -> "Cost":
        """The cost that a measurement tells of."""
        return Cost(measurement.median_us, measurement.standard_error_us)


@dataclass(frozen=True, slots=True)
class Observation:
    """A chain that was measured as one model.

    Attributes:
        name: for people.
        chain: its parts.
        cost: what it takes.
        whole: whether it is a whole network, which is large enough to have displaced a part's
            weights and code from the nearest caches by the time that the part runs again; a
            window of a few parts is as warm as one part alone.
    """

    name: str
    chain: Chain
    cost: Cost
    whole: bool = True


def distinct(chains: Sequence[Chain]) -> tuple[Part, ...]:
    """Every part once, in order of appearance."""
    return tuple(dict.fromkeys(part for chain in chains for part in chain))
