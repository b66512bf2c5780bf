"""Localization: a weight that was changed is found where it is, and folding is not in the way."""

from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from backends.backend import Engine
from backends.model import ExportedModel
from backends.ort import OrtBackend
from compiler.candidates import export_network
from compiler.design import Design, DesignedNetwork, build_design
from compiler.divergence import Divergence
from compiler.donors import Donors
from compiler.export import INPUT_NAME
from compiler.localization import localize
from compiler.network import Blueprint, Segment
from compiler.recipe import Recipe, RecipeSegment
from compiler.verification import FP32
from targets.target import get_target

STITCHED = Blueprint(
    64,
    (
        Segment("test_resnet.random", "input", "layer2.0"),
        Segment("test_efficientnet.random", "blocks.2.0", "output"),
    ),
)
CPU = get_target("cpu:threads=1")


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 64, 64), dtype=np.float32)


def weights(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """The weights of convolutions and linear layers, in the order in which they are used."""
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    used = [n.input[1] for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    return [held[name] for name in used if name in held]


def corrupted(model: ExportedModel, index: int, value: float = 30.0) -> ExportedModel:
    """The model with one number of one weight changed."""
    proto = onnx.ModelProto.FromString(model.onnx)
    tensor = weights(proto)[index]
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = value
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return ExportedModel.from_bytes(proto.SerializeToString(), name=model.name)


@dataclass(frozen=True)
class Case:
    """A network, exported as it should be."""

    network: DesignedNetwork
    healthy: ExportedModel

    @staticmethod
    def of(design: Design, donors: Donors) -> "Case":
        made = build_design(design, donors)
        return Case(made, export_network(made, design))

    def find(self, model: ExportedModel) -> Divergence:
        def compiled(marked: ExportedModel) -> Engine:
            return OrtBackend().compile(marked, CPU)

        return localize(self.network, self.healthy, model, compiled, image(), FP32)


@pytest.fixture(scope="module")
def case(tiny_donors: Donors) -> Case:
    return Case.of(STITCHED, tiny_donors)


def test_one_changed_weight_of_the_first_layer_is_found_there(case: Case) -> None:
    found = case.find(corrupted(case.healthy, 0))

    assert (found.part, found.agrees) == ("segment 1", "")
    assert found.module.startswith("conv1.")
    assert found.what == "test_resnet.random[input..layer2.0]"
    assert found.error is not None and found.error > FP32.drift
    assert found.compared > 10


def test_one_changed_weight_of_the_last_layer_is_found_there(case: Case) -> None:
    found = case.find(corrupted(case.healthy, -1, 1e4))

    assert (found.part, found.module) == ("segment 2", "classifier")
    assert found.agrees.startswith("segment 2 ")
    assert "It first differs in segment 2: test_efficientnet.random[blocks.2.0..output]" in str(
        found
    )


def test_every_changed_weight_is_found_no_earlier_than_the_one_before(case: Case) -> None:
    count = len(weights(onnx.ModelProto.FromString(case.healthy.onnx)))

    found = [case.find(corrupted(case.healthy, index)) for index in range(count)]

    parts = [one.part for one in found if not one.vanishes]
    assert parts == sorted(parts, key=["segment 1", "stitch 1", "segment 2"].index)
    assert {"segment 1", "segment 2"} <= set(parts)
    assert len(parts) > count / 2


def test_a_changed_stitch_is_named_even_where_it_was_folded(
    case: Case, tiny_donors: Donors
) -> None:
    made = build_design(STITCHED, tiny_donors)
    made.load_state_dict(case.network.state_dict())
    made.stitches[0].conv.weight.mul_(-3.0)

    found = case.find(export_network(made, STITCHED))

    assert "stitch 1" in (found.part, *found.unseen)


def test_what_is_no_number_is_found_where_it_begins(case: Case) -> None:
    found = case.find(corrupted(case.healthy, 0, float("nan")))

    assert found.part == "segment 1"
    assert found.error is None
    assert "by no number" in str(found)


def test_a_recipe_with_new_ends_has_parts_of_its_own(four_donors: Donors) -> None:
    recipe = Recipe((3, 64, 64), 10, (RecipeSegment("test_vit.random", "blocks.0", "blocks.1"),))
    case = Case.of(recipe, four_donors)

    first = case.find(corrupted(case.healthy, 0))
    last = case.find(corrupted(case.healthy, -1, 1e4))

    assert (first.part, last.part) == ("stem", "head")


def test_a_difference_that_vanishes_when_it_is_looked_at_is_said(case: Case) -> None:
    found = case.find(case.healthy)

    assert found.vanishes
    assert str(found).startswith("The difference vanishes when tensors inside are read out")


def test_a_graph_whose_values_have_other_names_has_its_answer_alone(case: Case) -> None:
    proto = onnx.ModelProto.FromString(corrupted(case.healthy, 0).onnx)
    edges = {INPUT_NAME, "logits", *(tensor.name for tensor in proto.graph.initializer)}
    del proto.graph.value_info[:]
    for node in proto.graph.node:
        node.input[:] = [n if n in edges or not n else f"other_{n}" for n in node.input]
        node.output[:] = [n if n in edges else f"other_{n}" for n in node.output]

    found = case.find(ExportedModel.from_bytes(proto.SerializeToString(), name="renamed"))

    assert (found.compared, found.agrees) == (1, "")
    assert (found.part, found.unseen) == ("segment 2", ("segment 1", "stitch 1"))


def test_the_sentence_says_what_lies_between() -> None:
    found = Divergence("segment 2", "b[x..y]", "conv", 0.5, "segment 1 layer1", ("stitch 1",), 9)

    assert str(found) == (
        "It first differs in segment 2 (or in stitch 1, folded into it): b[x..y], at conv, by a "
        "relative error of 0.5; up to segment 1 layer1 it agrees (9 tensors inside were compared)."
    )
    assert "nothing before agrees" in str(replace(found, agrees=""))
