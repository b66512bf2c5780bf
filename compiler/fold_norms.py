"""Batch-norms become part of a convolution beside them, where that is exact.

In inference a batch-norm scales and shifts every channel. A convolution before it takes both in,
whatever its groups. One behind it does if it does not pad: zeros that are padded would have had to
become the shift.
"""

import numpy as np
from onnx import NodeProto

from compiler.onnx_edit import Array, GraphEdit, attributes

_EPSILON = 1e-5


def fold_norms(edit: GraphEdit) -> int:
    """Multiply batch-norms into convolutions; returns how many are gone."""
    gone = 0
    for node in edit.nodes("BatchNormalization"):
        found = scale_and_shift(node, edit)
        if found is not None and edit.removable(node):
            gone += _into_before(node, *found, edit) or _into_behind(node, *found, edit)
    return gone


def scale_and_shift(node: NodeProto, edit: GraphEdit) -> tuple[Array, Array] | None:
    """What each channel is multiplied by and what is added, in float64."""
    told = attributes(node)
    constants = [edit.constant(name) for name in node.input[1:]]
    if told.get("training_mode", 0) or any(array is None for array in constants):
        return None
    scale, bias, mean, variance = (np.asarray(array, np.float64) for array in constants)
    scale = scale / np.sqrt(variance + told.get("epsilon", _EPSILON))
    return scale, bias - mean * scale


def _into_before(node: NodeProto, scale: Array, shift: Array, edit: GraphEdit) -> int:
    conv = edit.producer(node.input[0])
    if conv is None or conv.op_type != "Conv" or not edit.read_once(node.input[0]):
        return 0
    parameters = edit.parameters(conv)
    if parameters is None:
        return 0
    weight, bias = parameters
    weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    edit.set_parameters(conv, conv.input[0], weight, bias * scale + shift)
    edit.remove(node, instead=conv.output[0])
    return 1


def _into_behind(node: NodeProto, scale: Array, shift: Array, edit: GraphEdit) -> int:
    conv = edit.only_reader(node.output[0])
    if conv is None or conv.op_type != "Conv" or conv.input[0] != node.output[0]:
        return 0
    told = attributes(conv)
    parameters = edit.parameters(conv)
    pads = any(told.get("pads", ())) or told.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    if parameters is None or (pads and shift.any()):
        return 0
    weight, bias = parameters
    groups = told.get("group", 1)
    inputs = scale.reshape(groups, 1, -1), shift.reshape(groups, 1, -1)
    grouped = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
    added = (grouped.sum(-1) * inputs[1]).sum(-1).reshape(-1)
    scaled = (grouped * inputs[0][..., None]).reshape(weight.shape)
    edit.set_parameters(conv, conv.input[0], scaled, bias + added)
    edit.remove(node, instead=node.input[0])
    return 1
