"""What every backend owes its users; a new backend joins by its name in `BACKENDS`."""

from collections.abc import Iterator

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from backends.backend import Array, Backend, Engine
from backends.model import ExportedModel
from backends.reference import ReferenceBackend
from backends.registry import get_backend, list_backends
from targets.errors import UsageError
from targets.target import Target, get_target

BACKENDS = ("reference", "ort", "trt", pytest.param("cuda", marks=pytest.mark.cuda))
"""TensorRT's worker runs on stand-ins for TensorRT and pycuda, and where there is a GPU, on it."""
X = {"x": np.array([[1, 1]], np.float32)}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "trt":
        request.getfixturevalue("trt_stand_in")
    found = get_backend("trt" if request.param == "cuda" else request.param)
    reason = found.unavailable()
    if reason:
        pytest.skip(reason)
    return found


@pytest.fixture
def target(backend: Backend) -> Target:
    return get_target(f"cpu:threads=1,spinning=off,backend={backend.name}")


@pytest.fixture
def engine(backend: Backend, target: Target, linear: ExportedModel) -> Iterator[Engine]:
    with backend.compile(linear, target) as engine:
        yield engine


def test_it_is_found_under_its_own_name(backend: Backend) -> None:
    assert get_backend(backend.name).name == backend.name
    assert backend.name in list_backends()


def test_it_tells_the_versions_that_its_numbers_depend_on(backend: Backend) -> None:
    versions = backend.versions()

    assert versions
    assert all(name and version for name, version in versions.items())


def test_it_computes_what_the_graph_says(engine: Engine) -> None:
    outputs = engine.run(X)

    assert list(outputs) == ["y"]
    assert outputs["y"].dtype == np.float32
    np.testing.assert_array_equal(outputs["y"], [[5, 0, 10]])


def test_it_computes_a_block_of_a_network_as_the_reference_does(
    backend: Backend, target: Target, residual: ExportedModel
) -> None:
    inputs = {"x": np.random.default_rng(1).standard_normal((1, 8, 6, 6)).astype(np.float32)}

    with backend.compile(residual, target) as engine:
        found = engine.run(inputs)
    with ReferenceBackend().compile(residual, target) as reference:
        expected = reference.run(inputs)

    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-4, atol=1e-4)


def test_inputs_and_outputs_go_by_name(
    backend: Backend, target: Target, two_ways: ExportedModel
) -> None:
    a, b = np.full((2, 2), 5, np.float32), np.full((2, 2), 3, np.float32)

    with backend.compile(two_ways, target) as engine:
        outputs = engine.run({"b": b, "a": a})

    np.testing.assert_array_equal(outputs["sum"], a + b)
    np.testing.assert_array_equal(outputs["difference"], a - b)


def test_whole_numbers_and_arrays_out_of_order_in_memory_are_taken(
    backend: Backend, target: Target
) -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "whole",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [2, 3])],
    )
    proto: ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    model = ExportedModel.from_bytes(proto.SerializeToString())
    inputs = {"x": np.arange(6).reshape(3, 2).T}

    with backend.compile(model, target) as engine:
        seconds = engine.time(inputs, 1)
        outputs = engine.run(inputs)

    np.testing.assert_array_equal(outputs["y"], [[0, 4, 8], [2, 6, 10]])
    assert seconds > 0


def test_outputs_of_one_run_are_not_touched_by_the_next(engine: Engine) -> None:
    first = engine.run(X)["y"]
    engine.run({"x": np.zeros((1, 2), np.float32)})

    np.testing.assert_array_equal(first, [[5, 0, 10]])


def test_it_times_with_its_own_clock(engine: Engine) -> None:
    seconds = engine.time(X, 3)

    assert 0 < seconds < float("inf")
    assert engine.load_seconds > 0


def test_no_inference_cannot_be_timed(engine: Engine) -> None:
    with pytest.raises(UsageError, match=r"Cannot time 0 inferences. Ask for at least 1"):
        engine.time(X, 0)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"was given the inputs \[\]; it takes \['x'\]"),
        ({"z": X["x"]}, r"was given the inputs \['z'\]; it takes \['x'\]"),
        ({**X, "z": X["x"]}, r"was given the inputs \['x', 'z'\]; it takes \['x'\]"),
        ({"x": X["x"][0]}, r"'x' is float32 \(2,\); the model takes float32 \(1, 2\)"),
        ({"x": X["x"].astype(np.float64)}, r"'x' is float64 \(1, 2\); the model takes float32"),
    ],
)
def test_inputs_that_are_not_the_models_are_refused(
    engine: Engine, inputs: dict[str, Array], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        engine.run(inputs)
    with pytest.raises(UsageError, match=message):
        engine.time(inputs, 1)


def test_a_closed_engine_refuses_to_work_and_may_be_closed_again(
    backend: Backend, target: Target, linear: ExportedModel
) -> None:
    engine = backend.compile(linear, target)
    with engine:
        engine.run(X)
    engine.close()

    with pytest.raises(UsageError, match=r"The engine of 'linear' is closed"):
        engine.run(X)
    with pytest.raises(UsageError, match=r"The engine of 'linear' is closed"):
        engine.time(X, 1)


def test_a_model_that_the_runtime_cannot_load_is_named(
    backend: Backend, target: Target, unloadable: ExportedModel
) -> None:
    with pytest.raises(UsageError, match=r"cannot load the model 'unloadable': .*Export it with"):
        backend.compile(unloadable, target)
