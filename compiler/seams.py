"""Seams: what a stitch between two blocks costs once it is multiplied into one of them.

Where a block ends or begins with a convolution and nothing lies between that and the stitch, the
two are folded into one (`compiler.fold_convolutions`). Then the stitch has no operator of its own;
what it costs is by how much the block's convolution grows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from onnx import ModelProto

from backends.model import ExportedModel
from compiler.conv_shapes import ConvShape, folded
from compiler.fold_convolutions import conv_shape
from compiler.onnx_edit import GraphEdit
from compiler.stitching import StitchShape


@dataclass(frozen=True, slots=True)
class Seam:
    """The convolutions that a stitch lies between.

    Attributes:
        before: that the block before it ends with; None: it ends with something else.
        behind: that the block behind it begins with; None: as above.
    """

    before: ConvShape | None = None
    behind: ConvShape | None = None


@dataclass(frozen=True, slots=True)
class Grown:
    """By how much the convolutions beside a stitch grow that it was multiplied into.

    Attributes:
        macs: multiply-accumulates; negative where they shrink.
        weights: numbers of the kernels; negative where they shrink.
    """

    macs: int
    weights: int


PLAIN = Seam()


def grown(shape: StitchShape, seam: Seam) -> Grown | None:
    """What folding leaves of a stitch; None: it stays an operator of its own."""
    if shape.kind == "nearest":
        return None
    stitch = ConvShape(
        shape.target[0],
        shape.source[0],
        (1, 1),
        prod(shape.target[1:]),
        (shape.stride, shape.stride),
    )
    beside = tuple(conv for conv in (seam.before, seam.behind) if conv is not None)
    row = [conv for conv in (seam.before, stitch, seam.behind) if conv is not None]
    left = folded(tuple(row))
    if len(left) == len(row):
        return None
    return Grown(_macs(left) - _macs(beside), _weights(left) - _weights(beside))


def edges(model: ExportedModel) -> Seam:
    """The convolutions at a block's own ends, in the order of a seam before and behind another.

    Args:
        model: of one input and one output, with weights inside and static shapes.

    Returns:
        `before`: what the block ends with, `behind`: what it begins with.
    """
    edit = GraphEdit(ModelProto.FromString(model.onnx))
    first, last = model.inputs[0].name, edit.producer(model.outputs[0].name)
    reader = edit.only_reader(first)
    return Seam(
        None if last is None or edit.reads(model.outputs[0].name) else conv_shape(last, edit),
        None if reader is None or reader.input[0] != first else conv_shape(reader, edit),
    )


def _macs(shapes: Sequence[ConvShape]) -> int:
    return sum(shape.macs for shape in shapes)


def _weights(shapes: Sequence[ConvShape]) -> int:
    return sum(shape.weights for shape in shapes)
