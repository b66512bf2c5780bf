"""Deviations: worst cosine and worst relative error, written out for small vectors."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper

from backends.backend import Array
from backends.deviation import Deviation, compare
from backends.model import ExportedModel
from targets.errors import UsageError
from targets.target import get_target

REFERENCE = get_target("reference")
Build = Callable[..., ModelProto]
Samples = list[dict[str, Array]]


@pytest.fixture
def scaled(build: Build) -> Callable[[float, float], ExportedModel]:
    def make(first: float, second: float) -> ExportedModel:
        node = helper.make_node("Mul", ["x", "w"], ["y"])
        held = {"w": np.array([first, second], np.float32)}
        proto = build([node], {"x": (2,)}, {"y": (2,)}, held, name=f"{first:g} {second:g}")
        return ExportedModel.from_bytes(proto.SerializeToString())

    return make


Make = Callable[[float, float], ExportedModel]


def inputs(*vectors: tuple[float, float]) -> Samples:
    return [{"x": np.array(vector, np.float32)} for vector in vectors]


def test_a_model_deviates_from_itself_by_nothing(scaled: Make) -> None:
    found = compare(scaled(1, 2), scaled(1, 2), inputs((1, 2), (3, 4)), REFERENCE)

    assert found == Deviation(2, 1.0, 0.0)


def test_the_worst_sample_of_each_kind_counts(scaled: Make) -> None:
    found = compare(scaled(1, 1), scaled(1, 0), inputs((4, 3), (3, 4), (1, 0)), REFERENCE)

    assert found.samples == 3
    assert found.cosine == pytest.approx(0.6)
    assert found.relative_error == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("wanted", "got", "cosine", "error"),
    [
        ((0, 0), (0, 0), 1.0, 0.0),
        ((0, 0), (1, 0), 0.0, float("inf")),
        ((1, 0), (0, 0), 0.0, 1.0),
        ((1, 0), (-1, 0), -1.0, 2.0),
        ((1, 0), (float("nan"), 0), 0.0, float("inf")),
        ((1, 0), (float("inf"), 0), 0.0, float("inf")),
    ],
)
def test_zeros_and_numbers_that_are_not_finite_are_judged(
    scaled: Make,
    wanted: tuple[float, float],
    got: tuple[float, float],
    cosine: float,
    error: float,
) -> None:
    found = compare(scaled(*wanted), scaled(*got), inputs((1, 1)), REFERENCE)

    assert found == Deviation(1, cosine, error)


@given(st.floats(0.5, 2))
def test_a_factor_turns_nothing_and_errs_by_what_it_adds(factor: float) -> None:
    def make(value: float) -> ExportedModel:
        node = helper.make_node("Mul", ["x", "w"], ["y"])
        edges = [helper.make_tensor_value_info(name, 1, (2,)) for name in ("x", "y")]
        held = [helper.make_tensor("w", 1, (2,), [value, value])]
        graph = helper.make_graph([node], "g", edges[:1], edges[1:], held)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return ExportedModel.from_bytes(proto.SerializeToString())

    found = compare(make(1), make(factor), inputs((1, 2)), REFERENCE)

    assert found.cosine == pytest.approx(1.0)
    assert found.relative_error == pytest.approx(abs(factor - 1), abs=1e-6)


def test_all_outputs_count_together(two_ways: ExportedModel) -> None:
    sample = {"a": np.ones((2, 2), np.float32), "b": np.zeros((2, 2), np.float32)}

    assert compare(two_ways, two_ways, [sample], REFERENCE) == Deviation(1, 1.0, 0.0)


def test_without_samples_nothing_is_compared(scaled: Make) -> None:
    with pytest.raises(UsageError, match=r"Cannot compare '2 2' with '1 1' without samples"):
        compare(scaled(1, 1), scaled(2, 2), [], REFERENCE)


def test_models_of_other_edges_are_not_compared(scaled: Make, linear: ExportedModel) -> None:
    with pytest.raises(UsageError, match=r"Both must have the same edges"):
        compare(scaled(1, 1), linear, inputs((1, 1)), REFERENCE)
