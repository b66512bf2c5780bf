"""What the tests of TensorRT's worker share: versions, settings, small models."""

import numpy as np
from onnx import ModelProto, TensorProto, helper

from backends.backend import Array
from backends.model import ExportedModel

VERSIONS = ("8.6.0", "10.16.1.11", "11.4.0.106")
SETTINGS = {
    "workspace_bytes": 2**20,
    "level": 3,
    "timing_iterations": 1,
    "aux_streams": 0,
    "tf32": False,
    "version_compatible": False,
    "refit": False,
    "capability": None,
    "fp16": False,
    "int8": False,
}


def image(model: ExportedModel) -> dict[str, Array]:
    random = np.random.default_rng(1)
    return {s.name: random.standard_normal(s.shape).astype(np.float32) for s in model.inputs}


def one(operator: str, name: str = "one") -> ExportedModel:
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], name="block/op")],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [
            helper.make_tensor_value_info(
                "y", TensorProto.FLOAT, [] if operator == "Det" else [2, 2]
            )
        ],
    )
    proto: ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    return ExportedModel.from_bytes(proto.SerializeToString(), name)
