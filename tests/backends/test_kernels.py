"""Kernels: what ONNX Runtime really executes, with multiply-accumulates counted by hand."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from backends.backend import Array
from backends.kernels import Kernel, executed, integer_share, kernels
from backends.model import ExportedModel
from backends.ort import trace
from backends.quantization import Scheme, quantize
from targets.errors import TargetUnavailableError, UsageError
from targets.target import get_target

CPU = get_target("cpu:threads=1")
Build = Callable[..., ModelProto]


def exported(proto: ModelProto) -> ExportedModel:
    return ExportedModel.from_bytes(proto.SerializeToString())


def weights(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def macs(model: ExportedModel) -> int:
    return sum(kernel.macs for kernel in executed(model, CPU))


def test_a_float_model_runs_float_kernels(linear: ExportedModel) -> None:
    found = executed(linear, CPU)

    assert sum(kernel.macs for kernel in found) == 2 * 3
    assert integer_share(found) == 0.0
    assert not any(kernel.integer for kernel in found)


def test_a_quantized_model_runs_integer_kernels_of_as_many_macs(residual: ExportedModel) -> None:
    sample = {"x": weights(1, 8, 6, 6)}
    int8 = quantize(residual, [sample], Scheme.native())

    found = executed(int8, CPU)

    convolutions = [kernel for kernel in found if "Conv" in kernel.op_type]
    assert [kernel.op_type for kernel in convolutions] == ["QLinearConv", "QLinearConv"]
    assert sorted(kernel.macs for kernel in convolutions) == [36 * 8 * 9, 36 * 8 * 8 * 9]
    assert integer_share(found) == 1.0
    assert kernels(int8, CPU)["QLinearConv"] == 2


def test_the_share_is_one_of_multiply_accumulates() -> None:
    mixed = [Kernel("QLinearConv", 30), Kernel("Conv", 10), Kernel("Softmax", 0)]

    assert integer_share(mixed) == 0.75
    assert integer_share([Kernel("Relu", 0)]) == 0.0
    assert integer_share([]) == 0.0


def test_a_turned_factor_is_counted_by_the_side_that_is_summed(build: Build) -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transA=1)
    model = exported(build([node], {"x": (5, 2)}, {"y": (2, 3)}, {"w": weights(5, 3)}))

    assert macs(model) == 2 * 3 * 5


def test_products_of_two_activations_are_counted(build: Build) -> None:
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    model = exported(build([node], {"a": (2, 3, 4), "b": (2, 4, 5)}, {"y": (2, 3, 5)}))

    assert macs(model) == 2 * 3 * 5 * 4


def test_a_convolution_whose_weights_are_computed_is_counted(build: Build) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    edges = {"x": (1, 3, 4, 4), "w": (2, 3, 1, 1)}
    model = exported(build([node], edges, {"y": (1, 2, 4, 4)}))

    assert macs(model) == 2 * 4 * 4 * 3


def test_nodes_of_a_branch_run_and_count_no_macs() -> None:
    def body(op: str) -> object:
        out = helper.make_tensor_value_info(f"{op}_y", TensorProto.FLOAT, (1, 2))
        return helper.make_graph([helper.make_node(op, ["h"], [f"{op}_y"])], op, [], [out])

    held = [numpy_helper.from_array(weights(2, 2), "w")]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("If", ["c"], ["y"], then_branch=body("Sin"), else_branch=body("Tanh")),
    ]
    edges = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2)),
        helper.make_tensor_value_info("c", TensorProto.BOOL, ()),
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2))
    graph = helper.make_graph(nodes, "branch", edges, [out], held)
    opsets = [helper.make_opsetid("", 17)]
    model = exported(helper.make_model(graph, opset_imports=opsets, ir_version=8))

    found = kernels(model, CPU)

    assert (found["MatMul"], found["If"], found["Tanh"], found["Sin"]) == (1, 1, 1, 0)
    assert macs(model) == 4


def test_a_trace_leaves_no_file(
    linear: ExportedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    found = trace(linear, CPU)

    assert [run.op_type for run in found.runs] == [node.op_type for node in found.graph.node]
    assert found.runs[-1].output == (1, 3)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_loaded_says_so(unloadable: ExportedModel) -> None:
    with pytest.raises(UsageError, match=r"cannot load the model 'unloadable'"):
        executed(unloadable, CPU)


def test_a_model_that_cannot_run_says_so(build: Build) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Sub", ["i", "one"], ["j"]),
        helper.make_node("Gather", ["t", "j"], ["y"]),
    ]
    held = {"one": np.array([9], np.int64), "t": np.arange(4, dtype=np.float32)}
    model = exported(build(nodes, {"x": (1,)}, {"y": (1,)}, held))

    with pytest.raises(UsageError, match=r"cannot run the model 'graph'"):
        executed(model, CPU)


def test_without_onnxruntime_it_says_what_to_install(
    linear: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(TargetUnavailableError, match=r"Install it: pip install onnxruntime"):
        kernels(linear, CPU)
