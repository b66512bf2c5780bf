"""Folding of layer scales, GELUs and means: what is taken in or turned, and what is left alone."""

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper

from backends.kernels import kernels
from backends.model import ExportedModel
from targets.target import get_target
from tests.compiler.folding_cases import Array, conv, folded_alike, graph, numbers, run


def scaled(source: str, made: str, shape: tuple[int, ...]) -> tuple[NodeProto, dict[str, Array]]:
    return helper.make_node("Mul", [source, "gamma"], [made]), {"gamma": numbers(7, *shape)}


def ended(node: NodeProto, source: str) -> list[NodeProto]:
    """The node, and one behind it that writes the answer."""
    return [node, helper.make_node("Relu", [source], ["y"])]


@pytest.mark.parametrize(
    ("shape", "folds"),
    [
        ((1, 5, 1, 1), True),
        ((5, 1, 1), True),
        ((1,), True),
        ((), True),
        ((5,), False),
        ((1, 1, 6, 1), False),
        ((1, 1, 1, 6), False),
    ],
)
def test_a_scale_of_channels_is_taken_into_the_convolution_before_it(
    shape: tuple[int, ...], folds: bool
) -> None:
    first, held = conv("x", "h", numbers(1, 5, 3, 3, 3), numbers(2, 5), pads=[1, 1, 1, 1])
    width = 5 if shape == (5,) else 6
    second, more = scaled("h", "g", shape)
    model = graph([first, *ended(second, "g")], held | more, (1, 3, 6, width))

    folded = folded_alike(model)

    assert folded.gone == ((("scales", 1),) if folds else ())


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("shape", "folds"), [((6,), True), ((1, 6), True), ((4, 1), False)])
def test_a_scale_of_columns_is_taken_into_the_product_before_it(
    shape: tuple[int, ...], folds: bool, biased: bool
) -> None:
    held = {"w": numbers(1, 5, 6), "b": numbers(2, 6)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"])]
    if biased:
        nodes.append(helper.make_node("Add", ["b", "m"], ["a"]))
    second, more = scaled("a" if biased else "m", "g", shape)
    model = graph([*nodes, *ended(second, "g")], held | more, (1, 4, 5))

    folded = folded_alike(model)

    assert folded.gone == ((("scales", 1),) if folds else ())


def test_what_others_read_unscaled_stays() -> None:
    first, held = conv("x", "h", numbers(1, 5, 3, 1, 1), numbers(2, 5))
    second, more = scaled("h", "g", (5, 1, 1))
    both = helper.make_node("Add", ["h", "g"], ["y"])

    folded = folded_alike(graph([first, second, both], held | more, (1, 3, 4, 4)))

    assert folded.gone == ()


def test_a_scale_that_repeats_what_it_scales_stays() -> None:
    first, held = conv("x", "h", numbers(1, 5, 3, 4, 4))
    second, more = scaled("h", "g", (1, 1, 3, 3))

    folded = folded_alike(graph([first, *ended(second, "g")], held | more, (1, 3, 4, 4)))

    assert folded.gone == ()


def gelu(turned: tuple[bool, bool, bool], one: float = 1.0) -> ExportedModel:
    """As the exporter writes it; each product and the sum may have its operands turned."""

    def node(op_type: str, a: str, b: str, made: str, turn: bool) -> NodeProto:
        return helper.make_node(op_type, [b, a] if turn else [a, b], [made])

    nodes = [
        helper.make_node("Div", ["x", "root"], ["d"]),
        helper.make_node("Erf", ["d"], ["e"]),
        node("Add", "e", "one", "s", turned[0]),
        node("Mul", "half", "s", "h", turned[1]),
        node("Mul", "x", "h", "g", turned[2]),
        helper.make_node("Add", ["g", "x"], ["y"]),
    ]
    held = {"root": np.float32(2**0.5), "one": np.float32(one), "half": np.float32(0.5)}
    return graph(nodes, {name: np.asarray(value) for name, value in held.items()}, (2, 9))


@pytest.mark.parametrize("turned", [(False,) * 3, (True,) * 3, (False, True, False)])
def test_a_gelu_is_found_by_the_runtime_once_it_is_turned(
    turned: tuple[bool, bool, bool],
) -> None:
    model, target = gelu(turned), get_target("cpu:threads=1")

    folded = folded_alike(model)

    assert folded.gone == (("gelu", 1),)
    assert kernels(model, target).get("Gelu", 0) == 0
    assert kernels(folded.model, target)["Gelu"] == 1


def test_a_turned_gelu_gives_the_same_bits() -> None:
    model = gelu((False,) * 3)
    x = numbers(3, 2, 9)

    assert np.array_equal(run(folded_alike(model).model, x), run(model, x))


def test_what_only_looks_like_a_gelu_is_left_alone() -> None:
    assert folded_alike(gelu((False,) * 3, one=2.0)).gone == ()


@pytest.mark.parametrize(
    ("axes", "keeps", "folds"),
    [([2, 3], 1, True), ([-1, -2], 1, True), ([2, 3], 0, False), ([1], 1, False)],
)
def test_a_mean_of_all_positions_becomes_a_pool(axes: list[int], keeps: int, folds: bool) -> None:
    nodes = ended(helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=keeps), "m")
    model = graph(nodes, {"axes": np.array(axes, np.int64)}, (1, 3, 4, 5))

    folded = folded_alike(model)

    written = [node.op_type for node in ModelProto.FromString(folded.model.onnx).graph.node]
    assert written == ["GlobalAveragePool" if folds else "ReduceMean", "Relu"]


def test_a_mean_over_tokens_stays() -> None:
    nodes = ended(helper.make_node("ReduceMean", ["x", "axes"], ["m"]), "m")

    assert folded_alike(graph(nodes, {"axes": np.array([2])}, (1, 3, 4))).gone == ()
