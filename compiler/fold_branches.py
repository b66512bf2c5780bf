"""Convolutions of the same tensor that are added are one convolution.

Networks that are trained with parallel branches, as RepVGG and MobileOne are, add a 3x3 and a 1x1
convolution and a batch-norm of what both read. All are linear: the smaller kernel is laid into the
larger where it looks at the same positions, and a batch-norm or the tensor itself is a 1x1 kernel
of one weight a channel. The one convolution is never more work than the larger was.
"""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from compiler.fold_norms import scale_and_shift
from compiler.onnx_edit import Array, GraphEdit, attributes, either_order, geometry, set_attributes

_ONE = (1, 1)


@dataclass(frozen=True, slots=True)
class _Branch:
    """A linear map of feature maps.

    Attributes:
        node: that computes it; None: what is read is itself added.
        source: what it reads.
        weight: (outputs, inputs of a group, height, width).
        bias: (outputs,).
        groups: of the convolution.
        strides: of height and width.
        pads: top, left, bottom, right.
        dilations: of height and width.
    """

    node: NodeProto | None
    source: str
    weight: Array
    bias: Array
    groups: int = 1
    strides: tuple[int, ...] = _ONE
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = _ONE

    @property
    def kernel(self) -> tuple[int, ...]:
        """Height and width."""
        return self.weight.shape[2:]


def fold_branches(edit: GraphEdit) -> int:
    """Lay branches into each other; returns how many nodes are gone."""
    gone = 0
    for node in edit.nodes("Add"):
        if len(node.input) != 2 or not edit.removable(node):
            continue
        if edit.shapes.get(node.input[0], ()) != edit.shapes.get(node.input[1]):
            continue
        for value, other in either_order(node):
            larger = _convolution(value, edit)
            smaller = None if larger is None else _branch(other, larger, edit)
            if larger is None or smaller is None:
                continue
            laid = _laid(smaller, larger)
            if laid is not None:
                gone += _write(node, larger, smaller, laid, edit)
                break
    return gone


def _convolution(value: str, edit: GraphEdit) -> _Branch | None:
    """The branch of a convolution that nobody else reads, weights known; None: it is none."""
    node = edit.producer(value)
    if node is None or node.op_type != "Conv" or not edit.read_once(value):
        return None
    parameters = edit.parameters(node)
    steps = None if parameters is None else geometry(node, parameters[0])
    if parameters is None or steps is None:
        return None
    groups = attributes(node).get("group", 1)
    return _Branch(
        node, node.input[0], *parameters, groups, steps.strides, steps.pads, steps.dilations
    )


def _branch(value: str, beside: _Branch, edit: GraphEdit) -> _Branch | None:
    """What is added to a convolution: another, a batch-norm, or what it reads itself."""
    channels = len(beside.weight)
    if value == beside.source:
        return _diagonal(None, value, np.ones(channels), np.zeros(channels), beside, edit)
    node = edit.producer(value)
    if node is not None and node.op_type == "BatchNormalization" and edit.read_once(value):
        found = scale_and_shift(node, edit)
        return None if found is None else _diagonal(node, node.input[0], *found, beside, edit)
    return _convolution(value, edit)


def _diagonal(
    node: NodeProto | None,
    source: str,
    scale: Array,
    shift: Array,
    beside: _Branch,
    edit: GraphEdit,
) -> _Branch | None:
    """One weight a channel, as a 1x1 kernel of as many groups as the convolution beside it."""
    outputs, inputs = beside.weight.shape[:2]
    shape = edit.shapes.get(source, ())
    same = len(scale) == outputs == inputs * beside.groups and len(shape) == 4
    if not same or shape[1] != outputs:
        return None
    weight = np.zeros((outputs, inputs, 1, 1))
    rows = np.arange(outputs)
    weight[rows, rows % inputs, 0, 0] = scale
    return _Branch(node, source, weight, shift, beside.groups)


def _laid(smaller: _Branch, larger: _Branch) -> Array | None:
    """The smaller kernel in the place of the larger that reads the same; None: it does not fit."""
    same = smaller.source == larger.source and smaller.groups == larger.groups
    if not same or smaller.strides != larger.strides:
        return None
    if smaller.weight.shape[:2] != larger.weight.shape[:2]:
        return None
    if smaller.kernel != _ONE and smaller.dilations != larger.dilations:
        return None
    places = []
    for axis in (0, 1):
        offset, rest = divmod(larger.pads[axis] - smaller.pads[axis], larger.dilations[axis])
        if rest or not 0 <= offset <= larger.kernel[axis] - smaller.kernel[axis]:
            return None
        places.append(offset)
    laid = np.zeros_like(larger.weight)
    (top, left), (height, width) = places, smaller.kernel
    laid[:, :, top : top + height, left : left + width] = smaller.weight
    return laid


def _write(node: NodeProto, larger: _Branch, smaller: _Branch, laid: Array, edit: GraphEdit) -> int:
    assert larger.node is not None
    edit.set_parameters(
        larger.node, larger.source, larger.weight + laid, larger.bias + smaller.bias
    )
    set_attributes(larger.node, {"auto_pad": "NOTSET", "pads": larger.pads})
    edit.remove(node, instead=larger.node.output[0])
    if smaller.node is None:
        return 1
    edit.remove(smaller.node)
    return 2
