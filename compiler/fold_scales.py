"""A product with constants, one a channel, becomes part of the linear operator before it.

Layer scale, as ConvNeXt and DeiT III have it behind every branch, is such a product. Behind a
convolution the channel is dimension 1, behind a matrix product, with a bias or without, the last.
"""

import numpy as np
from onnx import NodeProto

from compiler.onnx_edit import Array, GraphEdit, either_order


def fold_scales(edit: GraphEdit) -> int:
    """Multiply constants into convolutions and matrix products; returns how many are gone."""
    gone = 0
    for node in edit.nodes("Mul"):
        for value, name in either_order(node):
            scale, before = edit.constant(name), edit.producer(value)
            if scale is None or before is None or not edit.read_once(value):
                continue
            same = edit.shapes.get(node.output[0], ()) == edit.shapes.get(value)
            if same and edit.removable(node) and _taken_in(before, scale.astype(np.float64), edit):
                edit.remove(node, instead=value)
                gone += 1
                break
    return gone


def _taken_in(before: NodeProto, scale: Array, edit: GraphEdit) -> bool:
    if before.op_type == "Conv":
        return _into_convolution(before, scale, edit)
    if before.op_type == "MatMul":
        return _into_product(before, None, scale, edit)
    if before.op_type == "Add":
        for value, bias in either_order(before):
            product = edit.producer(value)
            if product is not None and product.op_type == "MatMul" and edit.read_once(value):
                return _into_product(product, (before, value, bias), scale, edit)
    return False


def _into_convolution(conv: NodeProto, scale: Array, edit: GraphEdit) -> bool:
    parameters = edit.parameters(conv)
    if parameters is None:
        return False
    weight, bias = parameters
    channels = _along(scale, -(weight.ndim - 1), len(weight))
    if channels is None:
        return False
    scaled = weight * channels.reshape(-1, *[1] * (weight.ndim - 1))
    edit.set_parameters(conv, conv.input[0], scaled, bias * channels)
    return True


def _into_product(
    product: NodeProto, added: tuple[NodeProto, str, str] | None, scale: Array, edit: GraphEdit
) -> bool:
    """Scales the columns of a matrix, and the bias that a node adds to the product."""
    weight = edit.constant(product.input[1])
    if weight is None or weight.ndim != 2:
        return False
    columns = _along(scale, -1, weight.shape[1])
    bias = None if added is None else edit.constant(added[2])
    if columns is None or (added is not None and (bias is None or bias.ndim > 1)):
        return False
    source, name = product.input
    made = edit.add_constant(name, (weight * columns).astype(np.float32))
    edit.replace_inputs(product, (source, made))
    if added is not None and bias is not None:
        node, value, name = added
        made = edit.add_constant(name, (bias * columns).astype(np.float32))
        edit.replace_inputs(node, (value, made))
    return True


def _along(scale: Array, axis: int, channels: int) -> Array | None:
    """Constants as one number a channel, if that is all they differ by; None otherwise.

    Args:
        scale: the constants, which are broadcast to a tensor.
        axis: the channels' dimension in that tensor, counted from behind.
        channels: how many there are.
    """
    if scale.size == 1:
        return np.full(channels, scale.reshape(()))
    if scale.ndim < -axis or scale.shape[axis] != channels or scale.size != channels:
        return None
    return scale.reshape(-1)
