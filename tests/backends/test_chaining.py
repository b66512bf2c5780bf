"""Chaining: one model behind the other computes what they compute in turn."""

import numpy as np
import pytest
from onnx import helper

from backends.chaining import chain
from backends.model import ExportedModel
from backends.registry import get_backend
from targets.errors import UsageError
from targets.target import get_target
from tests.backends.conftest import build


def scaled(by: float, name: str, columns: int = 3, opset: int = 17) -> ExportedModel:
    """Y = by * x for x (1, columns)."""
    shape = (1, columns)
    weights = {"by": np.array([by] * columns, np.float32)}
    proto = build(
        [helper.make_node("Mul", ["x", "by"], ["y"])], {"x": shape}, {"y": shape}, weights
    )
    proto.opset_import[0].version = opset
    return ExportedModel.from_bytes(proto.SerializeToString(), name)


def test_a_chain_computes_what_its_models_compute_in_turn() -> None:
    joined = chain([scaled(2.0, "two"), scaled(3.0, "three"), scaled(5.0, "five")], "thirty")

    with get_backend("reference").compile(joined, get_target("reference")) as engine:
        given = {joined.inputs[0].name: np.array([[1, 2, 3]], np.float32)}
        (found,) = engine.run(given).values()

    assert found.tolist() == [[30.0, 60.0, 90.0]]
    assert (joined.name, joined.nodes) == ("thirty", 3)


def test_a_chain_of_one_is_that_model() -> None:
    alone = scaled(2.0, "two")

    assert chain([alone], "again").key == alone.key


def test_a_model_may_occur_twice() -> None:
    two = scaled(2.0, "two")

    assert chain([two, two], "four").nodes == 2


def test_a_chain_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="Cannot make the chain 'empty' of no models"):
        chain([], "empty")


def test_models_that_do_not_fit_are_named_with_their_shapes() -> None:
    with pytest.raises(UsageError, match=r"'three' and 'four'.* \(1, 3\).* \(1, 4\).*stitch"):
        chain([scaled(1.0, "three"), scaled(1.0, "four", 4)], "none")


def test_models_of_two_inputs_are_refused(two_ways: ExportedModel) -> None:
    with pytest.raises(UsageError, match="'two_ways': it has 2 inputs and 2 outputs"):
        chain([two_ways], "none")


def test_models_of_different_opsets_are_refused() -> None:
    with pytest.raises(UsageError, match="their opsets are"):
        chain([scaled(1.0, "old"), scaled(1.0, "new", opset=18)], "none")
