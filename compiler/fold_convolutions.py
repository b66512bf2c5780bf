"""Two convolutions in a row become one, where that is exact and no more work.

A stitch is a 1x1 convolution. Between it and a convolution beside it there is often nothing, as
blocks of MobileNetV2's kind end and begin with a linear 1x1 convolution: then the two matrices
multiply. What is between the two decides whether that is exact:

- behind any convolution a 1x1 one without padding can be multiplied in, strides and all;
- a 1x1 one before a larger one only if the latter does not pad, or the former adds no bias and does
  not stride: zeros that are padded would have had to become the bias;
- neither may be grouped, and nobody else may read what is between.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import NodeProto

from compiler.onnx_edit import Array, GraphEdit, attributes, set_attributes


@dataclass(frozen=True, slots=True)
class _Conv:
    """A two-dimensional convolution that is not grouped and pads by numbers, weights known.

    Attributes:
        node: itself.
        weight: (outputs, inputs, height, width).
        bias: (outputs,).
        strides: of height and width.
        pads: top, left, bottom, right.
        dilations: of height and width.
        grid: positions of its output.
    """

    node: NodeProto
    weight: Array
    bias: Array
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    grid: int

    @property
    def pointwise(self) -> bool:
        """Whether each answer comes from one position, and there is one for each it steps on."""
        return self.weight.shape[2:] == (1, 1) and not any(self.pads)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return prod(self.weight.shape) * self.grid


def fold_convolutions(edit: GraphEdit) -> int:
    """Multiply convolutions into those behind them; returns how many are gone."""
    gone = 0
    for node in edit.nodes("Conv"):
        before = edit.producer(node.input[0])
        if before is None or not edit.read_once(node.input[0]):
            continue
        first, second = _read(before, edit), _read(node, edit)
        if first is None or second is None or not _exact(first, second):
            continue
        folded = _product(first, second)
        if prod(folded.weight.shape) * second.grid <= first.macs + second.macs:
            _write(first, folded, edit)
            gone += 1
    return gone


def _read(node: NodeProto, edit: GraphEdit) -> _Conv | None:
    """The convolution, or None if this is none that can be multiplied with another."""
    told, shape = attributes(node), edit.shapes.get(node.output[0])
    parameters = edit.parameters(node) if node.op_type == "Conv" else None
    if parameters is None or shape is None or told.get("group", 1) != 1:
        return None
    weight, bias = parameters
    if weight.ndim != 4:
        return None
    if told.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return None
    return _Conv(
        node,
        weight,
        bias,
        tuple(told.get("strides", (1, 1))),
        tuple(told.get("pads", (0, 0, 0, 0))),
        tuple(told.get("dilations", (1, 1))),
        prod(shape[2:]),
    )


def _exact(first: _Conv, second: _Conv) -> bool:
    if second.pointwise:
        return True
    padded = any(second.pads) and bool(np.any(first.bias))
    return first.pointwise and first.strides == (1, 1) and not padded


def _product(first: _Conv, second: _Conv) -> _Conv:
    """Both as one: in place of the second, in float64."""
    if second.pointwise:
        weight = np.einsum("om,mihw->oihw", second.weight[:, :, 0, 0], first.weight)
        larger = first
    else:
        weight = np.einsum("omhw,mi->oihw", second.weight, first.weight[:, :, 0, 0])
        larger = second
    bias = second.bias + second.weight.sum((2, 3)) @ first.bias
    strides = tuple(a * b for a, b in zip(first.strides, second.strides, strict=True))
    return _Conv(second.node, weight, bias, strides, larger.pads, larger.dilations, second.grid)


def _write(first: _Conv, folded: _Conv, edit: GraphEdit) -> None:
    node = folded.node
    edit.set_parameters(node, first.node.input[0], folded.weight, folded.bias)
    edit.remove(first.node)
    told = {"strides": folded.strides, "pads": folded.pads, "dilations": folded.dilations}
    kernel = {"kernel_shape": folded.weight.shape[2:], "auto_pad": "NOTSET"}
    set_attributes(node, told | kernel)
