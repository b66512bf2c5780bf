"""Nodes that compute the same are one: identical stitches of the same tensor among them."""

from collections.abc import Hashable

from onnx import NodeProto

from compiler.onnx_edit import GraphEdit

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
    | {"RandomUniformLike", "Dropout"}
)


def fold_twins(edit: GraphEdit) -> int:
    """Have readers of a node that repeats an earlier one read that; returns how many are gone."""
    seen: dict[Hashable, str] = {}
    gone = 0
    for node in list(edit.graph.node):
        if node.op_type in _RANDOM or not edit.removable(node):
            continue
        key = _key(node, edit)
        if key in seen:
            edit.remove(node, instead=seen[key])
            gone += 1
        else:
            seen[key] = node.output[0]
    return gone


def _key(node: NodeProto, edit: GraphEdit) -> Hashable:
    """Operator, attributes, and inputs: weights by their numbers."""
    told = tuple(sorted(a.SerializeToString(deterministic=True) for a in node.attribute))
    inputs: list[Hashable] = []
    for name in node.input:
        array = edit.constant(name)
        inputs.append(name if array is None else (array.shape, str(array.dtype), array.tobytes()))
    return node.domain, node.op_type, told, tuple(inputs)
