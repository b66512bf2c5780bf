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

from compiler.conv_shapes import ConvShape, product
from compiler.onnx_edit import Array, GraphEdit, attributes, geometry, set_attributes


@dataclass(frozen=True, slots=True)
class _Conv:
    """A convolution whose weights are known.

    Attributes:
        node: itself.
        shape: of all that is not its numbers.
        weight: (outputs, inputs, height, width).
        bias: (outputs,).
    """

    node: NodeProto
    shape: ConvShape
    weight: Array
    bias: Array


def fold_convolutions(edit: GraphEdit) -> int:
    """Multiply convolutions into those behind them; returns how many are gone."""
    gone = 0
    for node in edit.nodes("Conv"):
        before = edit.producer(node.input[0])
        if before is None or not edit.read_once(node.input[0]):
            continue
        first, second = _read(before, edit), _read(node, edit)
        if first is None or second is None:
            continue
        made = product(first.shape, second.shape)
        if made is not None:
            _write(first, _multiplied(first, second, made), edit)
            gone += 1
    return gone


def conv_shape(node: NodeProto, edit: GraphEdit) -> ConvShape | None:
    """The shape of a node that can be multiplied with another convolution; None for any other."""
    found = _read(node, edit)
    return None if found is None else found.shape


def _read(node: NodeProto, edit: GraphEdit) -> _Conv | None:
    """The convolution, or None if this is none that can be multiplied with another."""
    shape = edit.shapes.get(node.output[0])
    parameters = edit.parameters(node) if node.op_type == "Conv" else None
    if parameters is None or shape is None or attributes(node).get("group", 1) != 1:
        return None
    weight, bias = parameters
    steps = geometry(node, weight)
    if steps is None:
        return None
    outputs, inputs, height, width = weight.shape
    said = ConvShape(
        outputs,
        inputs,
        (height, width),
        prod(shape[2:]),
        steps.strides,
        steps.pads,
        steps.dilations,
        bool(np.any(bias)),
    )
    return _Conv(node, said, weight, bias)


def _multiplied(first: _Conv, second: _Conv, made: ConvShape) -> _Conv:
    """Both as one: in place of the second, in float64."""
    if second.shape.pointwise:
        weight = np.einsum("om,mihw->oihw", second.weight[:, :, 0, 0], first.weight)
    else:
        weight = np.einsum("omhw,mi->oihw", second.weight, first.weight[:, :, 0, 0])
    bias = second.bias + second.weight.sum((2, 3)) @ first.bias
    return _Conv(second.node, made, weight, bias)


def _write(first: _Conv, folded: _Conv, edit: GraphEdit) -> None:
    node, shape = folded.node, folded.shape
    edit.set_parameters(node, first.node.input[0], folded.weight, folded.bias)
    edit.remove(first.node)
    told = {"strides": shape.strides, "pads": shape.pads, "dilations": shape.dilations}
    set_attributes(node, told | {"kernel_shape": shape.kernel, "auto_pad": "NOTSET"})
