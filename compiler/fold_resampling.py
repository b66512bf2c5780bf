"""Resampling that does nothing is taken out: identities, and a repetition that is thinned again."""

import numpy as np
from onnx import NodeProto

from compiler.onnx_edit import GraphEdit, attributes, set_attributes


def fold_resampling(edit: GraphEdit) -> int:
    """Take out what only moves values about in vain; returns how many nodes are gone."""
    return _identities(edit) + _thinned(edit)


def _identities(edit: GraphEdit) -> int:
    """Resizing onto the same grid, slices of everything, reshapes to the same shape."""
    gone = 0
    for op_type in ("Resize", "Slice", "Reshape", "Identity", "Expand"):
        for node in edit.nodes(op_type):
            source, made = edit.shapes.get(node.input[0]), edit.shapes.get(node.output[0])
            if source is None or source != made or not edit.removable(node):
                continue
            if op_type != "Slice" or _forwards(node, edit):
                edit.remove(node, instead=node.input[0])
                gone += 1
    return gone


def _forwards(node: NodeProto, edit: GraphEdit) -> bool:
    """Whether a slice of everything keeps the order."""
    steps = edit.constant(node.input[4]) if len(node.input) > 4 else None
    return len(node.input) < 5 or (steps is not None and bool((steps > 0).all()))


def _thinned(edit: GraphEdit) -> int:
    """Positions that are repeated and then stepped over by a 1x1 convolution's stride."""
    gone = 0
    for node in edit.nodes("Conv"):
        resize = edit.producer(node.input[0])
        if resize is None or resize.op_type != "Resize" or not edit.read_once(node.input[0]):
            continue
        factors = _repeats(resize, edit)
        told = attributes(node)
        weight = edit.constant(node.input[1])
        if factors is None or weight is None or weight.shape[2:] != (1, 1):
            continue
        if any(told.get("pads", ())) or told.get("auto_pad", b"NOTSET") != b"NOTSET":
            continue
        if tuple(told.get("strides", (1, 1))) == factors:
            edit.replace_inputs(node, (resize.input[0], *node.input[1:]))
            edit.remove(resize)
            set_attributes(node, {"strides": (1, 1)})
            gone += 1
    return gone


def _repeats(node: NodeProto, edit: GraphEdit) -> tuple[int, int] | None:
    """How often each position is repeated down and across; None if it is no plain repetition."""
    told = attributes(node)
    source, made = edit.shapes.get(node.input[0]), edit.shapes.get(node.output[0])
    plain = (
        told.get("mode", b"nearest") == b"nearest"
        and told.get("coordinate_transformation_mode", b"half_pixel") == b"asymmetric"
        and told.get("nearest_mode", b"round_prefer_floor") == b"floor"
    )
    if not plain or source is None or made is None or len(source) != 4:
        return None
    factors = np.array(made) / np.array(source)
    if factors[0] != 1 or factors[1] != 1 or (factors % 1).any():
        return None
    return int(factors[2]), int(factors[3])
