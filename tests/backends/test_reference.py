from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from backends.model import ExportedModel
from backends.reference import (
    BYTES_PER_SECOND,
    INTERCEPT_SECONDS,
    MACS_PER_SECOND,
    NODE_SECONDS,
    ReferenceBackend,
    inference_seconds,
)
from targets.target import get_target

TARGET = get_target("reference")


def seconds(nodes: int, moved: int, macs: int) -> float:
    per_node = nodes * NODE_SECONDS
    return INTERCEPT_SECONDS + per_node + moved / BYTES_PER_SECOND + macs / MACS_PER_SECOND


def chain(length: int, channels: int = 4) -> ModelProto:
    """That many 1x1 convolutions, one behind the other."""
    shape = [1, channels, 8, 8]
    weights = [
        helper.make_tensor(
            f"w{i}", TensorProto.FLOAT, [channels, channels, 1, 1], [0.1] * channels**2
        )
        for i in range(length)
    ]
    nodes = [helper.make_node("Conv", [f"v{i}", f"w{i}"], [f"v{i + 1}"]) for i in range(length)]
    edges = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("v0", f"v{length}")
    ]
    graph = helper.make_graph(nodes, "chain", edges[:1], edges[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_time_of_a_convolution_is_its_overhead_its_bytes_and_its_macs() -> None:
    moved = 4 * (4 * 64 + 16 + 4 * 64)

    assert inference_seconds(chain(1)) == pytest.approx(seconds(1, moved, 16 * 64), rel=1e-12)


def test_the_time_of_a_linear_layer_and_an_activation(linear: ExportedModel) -> None:
    moved = 4 * ((2 + 6 + 3 + 3) + (3 + 3))

    proto = ModelProto.FromString(linear.onnx)

    assert inference_seconds(proto) == pytest.approx(seconds(2, moved, 6), rel=1e-12)


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_transposed_factor_costs_the_same(build: Any, transposed: int) -> None:
    shape = (3, 5) if transposed else (5, 3)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=transposed)
    proto = build([node], {"x": (2, 5)}, {"y": (2, 3)}, {"w": np.ones(shape, np.float32)})

    expected = seconds(1, 4 * (10 + 15 + 6), 2 * 5 * 3)

    assert inference_seconds(proto) == pytest.approx(expected, rel=1e-12)


def test_the_time_of_a_matrix_product(build: Any) -> None:
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    proto = build([node], {"a": (2, 4, 5), "b": (2, 5, 3)}, {"y": (2, 4, 3)})

    expected = seconds(1, 4 * (40 + 30 + 24), 2 * 4 * 5 * 3)

    assert inference_seconds(proto) == pytest.approx(expected, rel=1e-12)


def test_the_time_of_a_transposed_convolution(build: Any) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    weight = np.ones((4, 6, 2, 2), np.float32)
    proto = build([node], {"x": (1, 4, 3, 3)}, {"y": (1, 6, 6, 6)}, {"w": weight})

    expected = seconds(1, 4 * (36 + 96 + 216), 36 * 24)

    assert inference_seconds(proto) == pytest.approx(expected, rel=1e-12)


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 4, 32]))
def test_a_network_takes_one_intercept_less_than_its_two_halves(
    first: int, second: int, channels: int
) -> None:
    halves = inference_seconds(chain(first, channels)) + inference_seconds(chain(second, channels))

    whole = inference_seconds(chain(first + second, channels))

    assert whole < halves
    assert whole == pytest.approx(halves - INTERCEPT_SECONDS, rel=1e-9)


def test_the_clock_is_a_function_of_the_graph_alone() -> None:
    model = ExportedModel.from_bytes(chain(3).SerializeToString())
    inputs = {"v0": np.zeros((1, 4, 8, 8), np.float32)}
    targets = (TARGET, get_target("reference:threads=4,spinning=off"))

    times = [ReferenceBackend().compile(model, target).time(inputs, 7) for target in targets]

    assert times == [7 * inference_seconds(chain(3))] * 2


def test_tensors_of_unknown_shape_cost_only_the_overhead(build: Any) -> None:
    nodes = [
        helper.make_node("Mystery", ["x"], ["h"], domain="nobody"),
        helper.make_node("MatMul", ["h", "x"], ["y"]),
    ]
    proto = build(nodes, {"x": (2, 2)}, {"y": (2, 2)})
    proto.opset_import.append(helper.make_opsetid("nobody", 1))

    expected = seconds(2, 4 * (4 + 4 + 4), 0)

    assert inference_seconds(proto) == pytest.approx(expected, rel=1e-12)


def test_shapes_that_contradict_each_other_do_not_stop_the_clock(build: Any) -> None:
    proto = build([helper.make_node("MatMul", ["x", "x"], ["y"])], {"x": (2, 3)}, {"y": (2, 2)})

    assert inference_seconds(proto) > INTERCEPT_SECONDS


def test_it_needs_no_runtime() -> None:
    assert ReferenceBackend().unavailable() is None
    assert ReferenceBackend().versions() == {"onnx": onnx.__version__}
