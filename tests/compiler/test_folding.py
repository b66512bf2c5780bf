"""Folding of resampling, twins and batch-norms, and of whole stitched networks."""

import numpy as np
import pytest
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper
from torch import nn

from backends.model import ExportedModel, TensorSpec
from compiler.export import export
from compiler.folding import fold
from tests.compiler.folding_cases import Array, conv, folded_alike, graph, numbers, run

NORM = ("scale", "shift", "mean", "variance")


def norm(source: str, made: str) -> NodeProto:
    return helper.make_node("BatchNormalization", [source, *NORM], [made], epsilon=1e-3)


def statistics(channels: int) -> dict[str, Array]:
    found = {name: numbers(index, channels) for index, name in enumerate(NORM)}
    return found | {"variance": np.abs(found["variance"]) + np.float32(0.5)}


def resize(source: str, made: str, scales: list[float], mode: str = "asymmetric") -> NodeProto:
    assert len(scales) == 4
    return helper.make_node(
        "Resize",
        [source, "", "scales"],
        [made],
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode=mode,
    )


def scales(down: float, across: float) -> dict[str, Array]:
    return {"scales": np.array([1, 1, down, across], np.float32)}


def test_resampling_onto_the_same_grid_is_gone() -> None:
    node, held = conv("h", "y", numbers(1, 3, 3, 3, 3), pads=[1, 1, 1, 1])
    model = graph([resize("x", "h", [1.0] * 4), node], held | scales(1, 1), (1, 3, 4, 4))

    folded = folded_alike(model)

    assert (folded.nodes, folded.gone) == (1, (("resampling", 1),))


def test_what_the_graph_answers_with_keeps_its_name() -> None:
    model = graph([resize("x", "y", [1.0] * 4)], scales(1, 1), (1, 3, 4, 4))

    folded = folded_alike(model)

    assert (folded.nodes, folded.model) == (1, model)


@pytest.mark.parametrize(
    ("factor", "strides", "mode", "folds"),
    [
        ((2, 2), [2, 2], "asymmetric", True),
        ((2, 1), [2, 1], "asymmetric", True),
        ((2, 2), [1, 1], "asymmetric", False),
        ((3, 3), [2, 2], "asymmetric", False),
        ((2, 2), [2, 2], "half_pixel", False),
    ],
)
def test_a_repetition_that_is_stepped_over_is_gone(
    factor: tuple[int, int], strides: list[int], mode: str, folds: bool
) -> None:
    node, held = conv("h", "y", numbers(1, 5, 3, 1, 1), numbers(2, 5), strides=strides)
    held |= scales(*factor)
    model = graph([resize("x", "h", [1.0] * 4, mode), node], held, (1, 3, 4, 4))

    assert folded_alike(model).nodes == 2 - folds


@pytest.mark.parametrize(("step", "folds"), [(1, True), (-1, False)])
def test_a_slice_of_everything_is_gone_unless_it_turns_the_order(step: int, folds: bool) -> None:
    ends = {1: [0, 4], -1: [3, -5]}[step]
    names = ("starts", "ends", "axes", "steps")
    values = {n: np.array([v], np.int64) for n, v in zip(names, (*ends, 2, step), strict=True)}
    nodes = [helper.make_node("Slice", ["x", *names], ["h"]), helper.make_node("Neg", ["h"], ["y"])]
    model = graph(nodes, values, (1, 3, 4, 4))

    assert folded_alike(model).nodes == 2 - folds


def test_identical_stitches_of_one_tensor_are_shared() -> None:
    weight, bias = numbers(1, 3, 3, 1, 1), numbers(2, 3)
    one, held = conv("x", "a", weight, bias)
    two, more = conv("x", "b", weight.copy(), bias.copy())
    other, rest = conv("x", "c", weight + 1, bias)
    nodes = [one, two, other, helper.make_node("Sum", ["a", "b", "c"], ["y"])]
    model = graph(nodes, held | more | rest, (1, 3, 4, 4))

    folded = folded_alike(model)

    assert (folded.nodes, folded.gone) == (3, (("twins", 1),))


def test_random_nodes_are_no_twins() -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["a"]),
        helper.make_node("RandomNormalLike", ["x"], ["b"]),
        helper.make_node("Sub", ["a", "b"], ["y"]),
    ]

    assert fold(graph(nodes, {}, (1, 3, 4, 4))).nodes == 3


def test_a_batch_norm_behind_a_convolution_is_folded_whatever_its_groups() -> None:
    node, held = conv("x", "h", numbers(1, 6, 2, 3, 3), group=3, pads=[1, 1, 1, 1])
    model = graph([node, norm("h", "z"), relu("z", "y")], held | statistics(6), (1, 6, 5, 5))

    folded = folded_alike(model)

    assert (folded.nodes, folded.gone) == (2, (("batch-norms", 1),))


@pytest.mark.parametrize(("pads", "folds"), [([0, 0, 0, 0], True), ([1, 1, 1, 1], False)])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_batch_norm_before_a_convolution_is_folded_unless_it_pads(
    pads: list[int], folds: bool, groups: int
) -> None:
    node, held = conv(
        "h", "y", numbers(1, 4, 6 // groups, 3, 3), numbers(2, 4), pads=pads, group=groups
    )
    model = graph([norm("x", "h"), node], held | statistics(6), (1, 6, 5, 5))

    assert folded_alike(model).nodes == 2 - folds


def test_a_batch_norm_between_nothing_linear_stays() -> None:
    nodes = [relu("x", "h"), norm("h", "z"), relu("z", "y")]
    model = graph(nodes, statistics(6), (1, 6, 5, 5))

    assert folded_alike(model).nodes == 3


def test_one_rewrite_opens_the_way_for_another() -> None:
    one, held = conv("x", "a", numbers(1, 4, 4, 1, 1), numbers(2, 4))
    two, more = conv("c", "y", numbers(3, 4, 4, 1, 1), numbers(4, 4), strides=[2, 2])
    nodes = [one, norm("a", "b"), resize("b", "c", [1.0] * 4), two]
    model = graph(nodes, held | more | statistics(4) | scales(2, 2), (1, 4, 4, 4))

    folded = folded_alike(model)

    assert folded.nodes == 1
    assert dict(folded.gone) == {"resampling": 1, "batch-norms": 1, "convolutions": 1}


def test_a_graph_with_branches_is_left_alone() -> None:
    y = helper.make_tensor_value_info("t", TensorProto.FLOAT, [1, 3, 4, 4])
    branch = helper.make_graph([helper.make_node("Identity", ["h"], ["t"])], "branch", [], [y])
    nodes = [
        helper.make_node("Identity", ["x"], ["h"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    model = graph(nodes, {"yes": np.array(True)}, (1, 3, 4, 4))

    assert fold(model).model is model


def relu(source: str, made: str) -> NodeProto:
    return helper.make_node("Relu", [source], [made])


def test_an_exported_stitch_between_linear_blocks_costs_no_node() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU6(),
        nn.Conv2d(24, 8, 1),
        nn.Conv2d(8, 12, 1, stride=2),  # the stitch
        nn.Conv2d(12, 48, 1),
        nn.ReLU6(),
    ).eval()
    model = export(network, TensorSpec("x", (1, 3, 8, 8)), "stitched")

    folded = folded_alike(model)

    assert folded.nodes_before - folded.nodes == 1
    assert ops(folded.model).count("Conv") == 3
    x = numbers(5, 1, 3, 8, 8)
    with torch.no_grad():
        assert run(folded.model, x) == pytest.approx(network(torch.from_numpy(x)).numpy(), abs=1e-5)


def ops(model: ExportedModel) -> list[str]:
    return [node.op_type for node in ModelProto.FromString(model.onnx).graph.node]
