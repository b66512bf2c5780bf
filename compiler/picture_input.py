"""Picture input: a graph that normalizes and lays out its pictures itself.

What goes in is a picture as a decoder gives it, uint8 (N, S, S, 3), cropped and resized: resizing
as Pillow does it is no operator of ONNX.
"""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compiler.onnx_edit import fed_inputs
from targets.errors import UsageError

_OWN = "derycc_picture"


def with_picture_input(
    proto: ModelProto, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> ModelProto:
    """A copy of a graph whose input is a uint8 picture, channels last, under the same name.

    Args:
        proto: its one input is float32 (N, 3, S, S), normalized.
        mean: of the channels, for pixels in [0, 1].
        std: their deviations.

    Raises:
        UsageError: the input is another.
    """
    made = ModelProto()
    made.CopyFrom(proto)
    graph = made.graph
    inputs = fed_inputs(graph)
    dims = inputs[0].type.tensor_type.shape.dim
    if len(inputs) != 1 or len(dims) != 4 or dims[1].dim_value != 3:
        raise UsageError("Only a graph of one input (N, 3, S, S) can prepare its pictures itself.")
    (value,) = inputs
    name = value.name
    for node in graph.node:
        node.input[:] = [_OWN if n == name else n for n in node.input]
    scale = 1 / (255 * np.array(std, dtype=np.float64))
    shift = -np.array(mean, dtype=np.float64) / std
    for suffix, array in (("scale", scale), ("shift", shift)):
        shaped = array.astype(np.float32).reshape(1, 3, 1, 1)
        graph.initializer.append(numpy_helper.from_array(shaped, f"{_OWN}_{suffix}"))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*_steps(name), *rest])
    first, _, height, width = (dim.dim_param or dim.dim_value for dim in dims)
    picture = helper.make_tensor_value_info(name, TensorProto.UINT8, [first, height, width, 3])
    value.CopyFrom(picture)
    return made


def _steps(name: str) -> list[NodeProto]:
    """From a picture to a normalized tensor; laid out while a channel is still a byte."""
    return [
        helper.make_node("Transpose", [name], [f"{_OWN}_nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [f"{_OWN}_nchw"], [f"{_OWN}_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{_OWN}_float", f"{_OWN}_scale"], [f"{_OWN}_scaled"]),
        helper.make_node("Add", [f"{_OWN}_scaled", f"{_OWN}_shift"], [_OWN]),
    ]
