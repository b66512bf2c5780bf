"""The mean of a feature map over all its positions is a global average pool.

They are the same sum. A pool is what a runtime can compute in its own blocked layout: a general
mean between convolutions, as in squeeze and excitation, has it convert the whole map first.
"""

from onnx import NodeProto

from compiler.onnx_edit import GraphEdit, attributes

_MAP = 4  # dimensions: batch, channels, height, width


def fold_means(edit: GraphEdit) -> int:
    """Write means of whole feature maps as pools; returns how many."""
    found = [node for node in edit.nodes("ReduceMean") if _is_pool(node, edit)]
    for node in found:
        edit.replace_inputs(node, node.input[:1])
        del node.attribute[:]
        node.op_type = "GlobalAveragePool"
    return len(found)


def _is_pool(node: NodeProto, edit: GraphEdit) -> bool:
    """Whether a mean is over height and width, and keeps both as dimensions of one."""
    told = attributes(node)
    listed = edit.constant(node.input[1]) if len(node.input) > 1 else told.get("axes")
    shape = edit.shapes.get(node.input[0], ())
    if listed is None or len(shape) != _MAP or not told.get("keepdims", 1):
        return False
    return sorted(int(axis) % _MAP for axis in listed) == [2, 3]
