"""Int8 proof: what precision each piece of a built network really runs in, read from its engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.kernels import Kernel, executed, integer_share
from backends.model import ExportedModel
from backends.quantization import run_prefix
from compiler.precisions import FLOAT, INT8
from targets.target import Target

if TYPE_CHECKING:
    from compiler.network import Blueprint  # knows torch, which what is deployed does without

INTEGER_SHARE = 0.5
"""Least share of a piece's work in integer kernels with which it counts as run in int8."""


@dataclass(frozen=True, slots=True)
class PieceProof:
    """A piece of a segment, as it was asked for and as it runs.

    Attributes:
        segment: whose part it is, counted from 0.
        model: the donor.
        start: the cut before it.
        end: the cut behind it.
        asked: its precision.
        integer: share of its multiply-accumulates that integer kernels do; what is float is told
            of all float pieces and stitches together.
    """

    segment: int
    model: str
    start: str
    end: str
    asked: str
    integer: float

    @property
    def kept(self) -> bool:
        """Whether it runs in what it was asked for in."""
        return (self.integer >= INTEGER_SHARE) == (self.asked == INT8)


def prove(model: ExportedModel, blueprint: "Blueprint", target: Target) -> tuple[PieceProof, ...]:
    """The pieces of a mixed network, with the kernels that its engine runs for each.

    Args:
        model: from `compiler.mixed.export_mixed`.
        blueprint: what it is made of.
        target: what compiles it; ONNX Runtime.
    """
    kernels = executed(model, target)
    runs = sum(len(segment.int8) for segment in blueprint.segments)
    prefixes = [run_prefix(index) for index in range(runs)]
    inside = [[k for k in kernels if k.node.startswith(prefix)] for prefix in prefixes]
    quantized = iter(map(integer_share, inside))
    outside = integer_share(_others(kernels, prefixes))
    return tuple(
        PieceProof(
            index,
            piece.model,
            piece.start,
            piece.end,
            piece.precision,
            outside if piece.precision == FLOAT else next(quantized),
        )
        for index, segment in enumerate(blueprint.segments)
        for piece in segment.pieces
    )


def _others(kernels: Sequence[Kernel], prefixes: Sequence[str]) -> list[Kernel]:
    return [kernel for kernel in kernels if not kernel.node.startswith(tuple(prefixes))]
