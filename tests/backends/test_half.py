"""float16: most of a model, within what float16 can tell apart; edges and sums stay float32."""

from collections import Counter

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from backends.half import in_half
from backends.model import ExportedModel
from backends.reference import ReferenceBackend
from targets.target import get_target
from tests.backends.conftest import Build

TARGET = get_target("reference")


def test_a_block_in_half_computes_nearly_the_same(residual: ExportedModel) -> None:
    x = {"x": np.random.default_rng(1).standard_normal((1, 8, 6, 6)).astype(np.float32)}

    half = in_half(residual)

    answers = []
    for model in (residual, half):
        with ReferenceBackend().compile(model, TARGET) as engine:
            answers.append(engine.run(x)["y"])
    assert half.inputs == residual.inputs
    assert half.outputs == residual.outputs
    assert not np.array_equal(*answers)
    np.testing.assert_allclose(*answers, rtol=2e-2, atol=5e-2)
    kinds = {t.data_type for t in ModelProto.FromString(half.onnx).graph.initializer}
    assert kinds == {TensorProto.FLOAT16}


def test_what_float16_is_too_coarse_for_stays(build: Build) -> None:
    weights = {"w": np.full((4, 4), 300, np.float32), "s": np.ones(4, np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Softmax", ["m"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "w"], ["y"]),
    ]
    proto = build(nodes, {"x": (1, 4)}, {"y": (1, 4)}, weights)

    graph = ModelProto.FromString(
        in_half(ExportedModel.from_bytes(proto.SerializeToString())).onnx
    ).graph

    assert Counter(node.op_type for node in graph.node)["Cast"] >= 4
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    (softmax,) = (node for node in graph.node if node.op_type == "Softmax")
    assert helper.get_node_attr_value(casts[softmax.input[0]], "to") == TensorProto.FLOAT
    held = {tensor.name: numpy_helper.to_array(tensor).dtype.name for tensor in graph.initializer}
    assert held["w"] == "float16"
