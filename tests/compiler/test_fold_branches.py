"""Parallel branches that are added become one convolution where that is exact."""

import numpy as np
import pytest
import timm
import torch
from onnx import ModelProto, NodeProto, helper

from backends.model import ExportedModel, TensorSpec
from backends.registry import get_backend
from compiler.export import export
from compiler.folding import fold
from targets.target import get_target
from tests.compiler.folding_cases import Array, conv, folded_alike, graph, numbers

Told = dict[str, object]
PADDED: Told = {"pads": [1, 1, 1, 1]}
WIDE: Told = {"pads": [2, 2, 2, 2]}


def branches(
    kernels: tuple[int, int], told: tuple[Told, Told], groups: int = 1, turned: bool = False
) -> ExportedModel:
    """Two convolutions of four channels of the same tensor, added."""
    nodes: list[NodeProto] = []
    held: dict[str, Array] = {}
    for index, (kernel, said) in enumerate(zip(kernels, told, strict=True)):
        weight = numbers(index, 4, 4 // groups, kernel, kernel)
        node, more = conv("x", f"h{index}", weight, numbers(9, 4), group=groups, **said)
        nodes, held = [*nodes, node], held | more
    added = ["h1", "h0"] if turned else ["h0", "h1"]
    return graph([*nodes, *summed(added)], held, (1, 4, 9, 9))


def summed(values: list[str]) -> list[NodeProto]:
    return [helper.make_node("Add", values, ["s"]), helper.make_node("Relu", ["s"], ["y"])]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("kernels", "told", "groups", "folds"),
    [
        ((3, 1), (PADDED, {}), 1, True),
        ((3, 3), (PADDED, PADDED), 1, True),
        ((3, 1), (PADDED, {}), 4, True),
        ((3, 1), (PADDED, {}), 2, True),
        ((5, 3), (WIDE, PADDED), 1, True),
        ((3, 1), ({**PADDED, "strides": [2, 2]}, {"strides": [2, 2]}), 1, True),
        ((3, 1), ({**WIDE, "dilations": [2, 2]}, {}), 1, True),
        ((3, 3), ({**WIDE, "dilations": [2, 2]}, PADDED), 1, False),
        ((3, 1), ({"auto_pad": "SAME_UPPER"}, {}), 1, False),
    ],
)
def test_two_convolutions_of_one_tensor_are_one(
    kernels: tuple[int, int], told: tuple[Told, Told], groups: int, folds: bool, turned: bool
) -> None:
    folded = folded_alike(branches(kernels, told, groups, turned))

    assert folded.gone == ((("branches", 2),) if folds else ())


def test_a_sum_that_repeats_one_of_the_two_stays() -> None:
    assert folded_alike(branches((9, 1), ({}, {}))).gone == ()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_what_is_read_and_its_batch_norm_are_kernels_too(groups: int) -> None:
    node, held = conv("x", "h", numbers(1, 4, 4 // groups, 3, 3), group=groups, **PADDED)
    names = ["scale", "shift", "mean", "variance"]
    norm = helper.make_node("BatchNormalization", ["x", *names], ["n"])
    held |= {name: np.abs(numbers(index, 4)) for index, name in enumerate(names)}
    plain = helper.make_node("Add", ["h", "n"], ["t"])

    folded = folded_alike(graph([node, norm, plain, *summed(["x", "t"])], held, (1, 4, 6, 6)))

    assert folded.gone == (("branches", 3),)
    assert folded.nodes == 2


def test_a_residual_connection_around_two_convolutions_stays() -> None:
    first, held = conv("x", "h", numbers(1, 4, 4, 3, 3), **PADDED)
    second, more = conv("r", "t", numbers(2, 4, 4, 3, 3), **PADDED)
    between = helper.make_node("Relu", ["h"], ["r"])
    nodes = [first, between, second, *summed(["x", "t"])]

    assert folded_alike(graph(nodes, held | more, (1, 4, 6, 6))).gone == ()


@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0"])
def test_a_network_that_is_trained_with_branches_becomes_a_plain_one(name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=10).eval()
    model = export(network, TensorSpec("x", (1, 3, 64, 64)), name)

    folded = fold(model).model

    operators = [node.op_type for node in _nodes(folded)]
    assert "BatchNormalization" not in operators
    assert "Add" not in operators
    x, target = {"x": numbers(0, 1, 3, 64, 64)}, get_target("cpu:threads=1")
    with get_backend("ort").compile(folded, target) as engine:
        (got,) = engine.run(x).values()
    with torch.no_grad():
        expected = network(torch.from_numpy(x["x"])).numpy()
    assert got == pytest.approx(expected, abs=1e-4 * float(np.abs(expected).max()))


def _nodes(model: ExportedModel) -> list[NodeProto]:

    return list(ModelProto.FromString(model.onnx).graph.node)
