"""Bounds: what no network for pictures needs is refused, wherever in a graph it hides."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.shape_inference import infer_shapes

from backends.bounded import check_bounds
from targets.errors import UsageError

HIDDEN = 2000
"""So many float32 numbers are no shape."""


def dense() -> ModelProto:
    """Two layers, the weights of which are float data and raw data, and a constant shape."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 1])
    values = np.ones((2, HIDDEN), np.float32)
    first = helper.make_tensor("first", TensorProto.FLOAT, values.shape, values.ravel())
    second = numpy_helper.from_array(np.ones((HIDDEN, 2), np.float32), "second")
    shape = numpy_helper.from_array(np.array([2, 1]), "shape")
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "second"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["y"]),
    ]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], [first, second, shape]))


def outside() -> TensorProto:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="other")
    return tensor


def in_a_list(model: ModelProto) -> None:
    listed = AttributeProto(name="values", type=AttributeProto.TENSORS, tensors=[outside()])
    model.graph.node.append(NodeProto(op_type="Constant", output=["c"], attribute=[listed]))


def of_no_said_type(model: ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "inner", [], [])
    hidden = AttributeProto(name="body", g=inner)
    model.graph.node.append(NodeProto(op_type="Loop", output=["z"], attribute=[hidden]))


def too_wide(model: ModelProto) -> None:
    wide = numpy_helper.from_array(np.array([2, 2**29]), "wide")
    model.graph.initializer.append(wide)
    model.graph.node[-1].output[0] = "small"
    model.graph.node.append(helper.make_node("Expand", ["small", "wide"], ["large"]))
    model.graph.node.append(helper.make_node("ReduceMax", ["large"], ["y"]))


def test_weights_may_be_kept_in_any_way_and_a_shape_may_follow_from_a_constant() -> None:
    check_bounds(dense(), "m")


def test_weights_are_not_handed_to_the_inference_of_shapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def spy(proto: ModelProto, **more: bool) -> ModelProto:
        seen.append(proto.ByteSize())
        return infer_shapes(proto, **more)

    monkeypatch.setattr("backends.bounded.infer_shapes", spy)

    check_bounds(dense(), "m")

    assert dense().ByteSize() > 2 * 4 * 2 * HIDDEN
    assert seen[0] < 1000


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (in_a_list, "keeps weights in other files"),
        (of_no_said_type, r"has control flow \('Loop'\)"),
        (too_wide, "makes a tensor 'large' of 1073741824 elements"),
    ],
)
def test_what_no_network_needs_is_refused(edit: Callable[[ModelProto], None], said: str) -> None:
    model = dense()
    edit(model)

    with pytest.raises(UsageError, match=f"The model 'm' {said}"):
        check_bounds(model, "m")
