"""The sentinel: one small network measured in every round, so that the machine's drift shows."""

from functools import lru_cache
from math import prod

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from backends.model import ExportedModel

SENTINEL = "sentinel"
"""Key of the sentinel among a job's entries."""

_CHANNELS = 32
_SIDE = 28
_OPSET = 17
_IR_VERSION = 8


@lru_cache(maxsize=1)
def sentinel_model() -> ExportedModel:
    """Two 3x3 convolutions of 32 channels on a 28x28 grid, the same everywhere and for ever."""
    shape = (_CHANNELS, _CHANNELS, 3, 3)
    weights = [
        numpy_helper.from_array(
            (0.05 * np.sin(np.arange(prod(shape)) + index)).astype(np.float32).reshape(shape),
            f"weight{index}",
        )
        for index in range(2)
    ]
    nodes = [
        helper.make_node("Conv", ["x", "weight0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "weight1"], ["y"], pads=[1, 1, 1, 1]),
    ]
    edges = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, _CHANNELS, _SIDE, _SIDE])
        for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, SENTINEL, edges[:1], edges[1:], weights)
    opsets = [helper.make_opsetid("", _OPSET)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    return ExportedModel.from_bytes(proto.SerializeToString(), SENTINEL)
