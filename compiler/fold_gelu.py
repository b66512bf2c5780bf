"""GELU is written in the order of operators in which runtimes recognize it.

The exporter writes x * (0.5 * (1 + erf(x / sqrt 2))). ONNX Runtime has one operator for GELU, and
finds it in (x * (1 + erf(x / sqrt 2))) * 0.5 alone. Halving is exact in floating point, so that
both give the same numbers.
"""

from onnx import NodeProto

from compiler.onnx_edit import GraphEdit, either_order

_HALF = 0.5


def fold_gelu(edit: GraphEdit) -> int:
    """Move the halving behind the product; returns how many GELUs were turned."""
    return sum(_turned(node, edit) for node in edit.nodes("Mul"))


def _turned(node: NodeProto, edit: GraphEdit) -> bool:
    """Whether a product is a GELU's last node in the exporter's order; turns it if so."""
    for x, halved in either_order(node):
        inner = edit.producer(halved)
        if inner is None or inner.op_type != "Mul" or not edit.read_once(halved):
            continue
        for half, sum_ in either_order(inner):
            if _scalar(half, edit) == _HALF and edit.read_once(sum_) and _is_erf_sum(sum_, x, edit):
                edit.replace_inputs(inner, (x, sum_))
                edit.replace_inputs(node, (halved, half))
                return True
    return False


def _is_erf_sum(value: str, x: str, edit: GraphEdit) -> bool:
    """Whether a value is 1 + erf(x / a number)."""
    added = edit.producer(value)
    if added is None or added.op_type != "Add":
        return False
    first, second = added.input
    computed = second if _scalar(first, edit) == 1.0 else first
    one = first if computed == second else second
    erf = edit.producer(computed)
    if _scalar(one, edit) != 1.0 or erf is None or erf.op_type != "Erf":
        return False
    scaled = edit.producer(erf.input[0])
    return scaled is not None and scaled.op_type in ("Div", "Mul") and x in scaled.input


def _scalar(value: str, edit: GraphEdit) -> float | None:
    array = edit.constant(value)
    return float(array.reshape(())) if array is not None and array.size == 1 else None
