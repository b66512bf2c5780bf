"""Two convolutions in a row are one where that is exact, and stay two where it is not."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from backends.model import ExportedModel
from tests.compiler.folding_cases import conv, folded_alike, graph, numbers


def pair(
    first: dict[str, object],
    second: dict[str, object],
    kernels: tuple[int, int],
    channels: tuple[int, int, int] = (4, 6, 5),
    biased: tuple[bool, bool] = (True, True),
) -> ExportedModel:
    """Two convolutions on a grid of 9 x 8; a second of as many groups as channels is depthwise."""
    a, b, c = channels
    groups = int(str(second.get("group", 1)))
    one, held = conv(
        "x",
        "h",
        numbers(1, b, a, *(kernels[0],) * 2),
        numbers(2, b) if biased[0] else None,
        **first,
    )
    two, more = conv(
        "h",
        "y",
        numbers(3, c, b // groups, *(kernels[1],) * 2),
        numbers(4, c) if biased[1] else None,
        **second,
    )
    return graph([one, two], held | more, (1, a, 9, 8))


PADDED: dict[str, object] = {"pads": [1, 1, 1, 1]}


@pytest.mark.parametrize(
    ("first", "second", "kernels", "biased", "folds"),
    [
        ({}, {}, (1, 1), (True, True), True),
        ({}, {}, (1, 1), (False, False), True),
        ({"strides": [2, 2]}, {}, (1, 1), (True, True), True),
        ({}, {"strides": [2, 2]}, (1, 1), (True, True), True),
        ({**PADDED, "strides": [2, 1]}, {"strides": [2, 2]}, (3, 1), (True, True), True),
        ({**PADDED, "dilations": [2, 2]}, {}, (3, 1), (True, True), True),
        ({"auto_pad": "VALID"}, {}, (3, 1), (True, True), True),
        ({}, {}, (1, 3), (True, True), True),
        ({}, PADDED, (1, 3), (False, True), True),
        ({}, PADDED, (1, 3), (True, True), False),
        ({"strides": [2, 2]}, {}, (1, 3), (True, True), False),
        ({}, {}, (3, 3), (True, True), False),
        ({"auto_pad": "SAME_UPPER"}, {}, (3, 1), (True, True), False),
        ({}, PADDED, (3, 1), (True, True), False),
    ],
)
def test_a_pair_is_one_only_where_that_is_exact(
    first: dict[str, object],
    second: dict[str, object],
    kernels: tuple[int, int],
    biased: tuple[bool, bool],
    folds: bool,
) -> None:
    folded = folded_alike(pair(first, second, kernels, (6, 6, 6), biased))

    assert folded.nodes == 2 - folds
    assert folded.gone == ((("convolutions", 1),) if folds else ())


def test_a_grouped_convolution_is_not_multiplied() -> None:
    model = pair({}, {"group": 6}, (1, 1), (4, 6, 6), (False, True))

    assert folded_alike(model).nodes == 2


def test_what_would_be_more_work_stays_two_convolutions() -> None:
    narrow = pair({}, {}, (1, 1), (8, 1, 8))

    assert folded_alike(narrow).nodes == 2


def test_a_value_that_others_read_stays() -> None:
    one, held = conv("x", "h", numbers(1, 6, 6, 1, 1))
    two, more = conv("h", "z", numbers(2, 6, 6, 1, 1))
    model = graph([one, two, helper.make_node("Add", ["h", "z"], ["y"])], held | more, (1, 6, 5, 5))

    assert folded_alike(model).nodes == 3


def test_a_computed_weight_is_left_alone() -> None:
    one, held = conv("x", "h", numbers(1, 4, 4, 1, 1))
    weight = helper.make_node("Neg", ["w"], ["negative"])
    two = helper.make_node("Conv", ["h", "negative"], ["y"])
    model = graph([one, weight, two], held | {"w": numbers(2, 4, 4, 1, 1)}, (1, 4, 3, 3))

    assert folded_alike(model).nodes == 3


def test_a_row_of_convolutions_becomes_one_and_its_weights_are_gone() -> None:
    nodes, held = [], {}
    for index, (source, made) in enumerate([("x", "a"), ("a", "b"), ("b", "y")]):
        node, weights = conv(source, made, numbers(index, 4, 4, 1, 1), numbers(9 + index, 4))
        nodes.append(node)
        held |= weights
    folded = folded_alike(graph(nodes, held, (1, 4, 3, 3)))

    assert (folded.nodes_before, folded.nodes) == (3, 1)
    assert folded.gone == (("convolutions", 2),)
    assert folded.model.weight_bytes == 4 * (4 * 4 + 4)


@settings(max_examples=60, deadline=None)
@given(
    channels=st.tuples(*[st.integers(1, 5)] * 3),
    kernels=st.tuples(*[st.integers(1, 3)] * 2),
    strides=st.tuples(*[st.integers(1, 2)] * 2),
    pads=st.tuples(*[st.integers(0, 1)] * 2),
    biased=st.tuples(st.booleans(), st.booleans()),
)
def test_folded_graphs_answer_the_same_with_no_more_work(
    channels: tuple[int, int, int],
    kernels: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int],
    biased: tuple[bool, bool],
) -> None:
    first, second = (
        {"strides": [stride] * 2, "pads": [pad] * 4}
        for stride, pad in zip(strides, pads, strict=True)
    )
    model = pair(first, second, kernels, channels, biased)

    folded = folded_alike(model)

    assert folded.model.outputs == model.outputs
    assert prod(folded.model.outputs[0].shape) > 0
    assert folded.nodes in (1, 2)
    assert np.isfinite(folded.model.weight_bytes)
