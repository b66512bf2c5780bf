"""Shapes alone tell what the rewrite of graphs does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from compiler.conv_shapes import ConvShape, folded, product
from compiler.fold_convolutions import conv_shape
from compiler.folding import fold
from compiler.onnx_edit import GraphEdit
from tests.compiler.folding_cases import conv, graph, numbers

SIDE = 8

layers = st.tuples(
    st.integers(1, 6),
    st.sampled_from([(1, 0), (1, 1), (3, 0), (3, 1)]),
    st.sampled_from([1, 2]),
    st.booleans(),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(layers, min_size=1, max_size=3), st.integers(1, 6))
def test_a_row_of_shapes_folds_as_the_graph_does(
    drawn: list[tuple[int, tuple[int, int], int, bool]], channels: int
) -> None:
    nodes, held, before = [], {}, channels
    for index, (outputs, (kernel, pad), stride, biased) in enumerate(drawn):
        last = index == len(drawn) - 1
        node, weights = conv(
            "x" if index == 0 else f"h{index}",
            "y" if last else f"h{index + 1}",
            numbers(index, outputs, before, kernel, kernel),
            numbers(10 + index, outputs) if biased else None,
            strides=[stride] * 2,
            pads=[pad] * 4,
        )
        nodes.append(node)
        held |= weights
        before = outputs
    model = graph(nodes, held, (1, channels, 2 * SIDE + 9, 2 * SIDE + 9))

    assert folded(shapes(model.onnx)) == shapes(fold(model).model.onnx)


def shapes(onnx: bytes) -> tuple[ConvShape, ...]:
    edit = GraphEdit(ModelProto.FromString(onnx))
    found = [conv_shape(node, edit) for node in edit.nodes("Conv")]
    assert None not in found
    return tuple(shape for shape in found if shape is not None)


@pytest.mark.parametrize(("middle", "folds"), [(8, True), (2, False)])
def test_a_bottleneck_is_left_as_it_is(middle: int, folds: bool) -> None:
    down, up = ConvShape(middle, 8, (1, 1), 49), ConvShape(8, middle, (1, 1), 49)

    assert (product(down, up) is not None) == folds


def test_neither_work_nor_weights_grow() -> None:
    wide = ConvShape(4, 16, (1, 1), 4 * 49)
    stride = ConvShape(16, 4, (1, 1), 49, strides=(2, 2))

    # Less work on the coarse grid, and 256 weights instead of 128.
    assert wide.macs + stride.macs > 256 * 49
    assert product(wide, stride) is None


def test_zeros_are_no_bias() -> None:
    node, held = conv("x", "y", numbers(1, 4, 3, 1, 1), np.zeros(4, np.float32))
    other, more = conv("x", "y", numbers(1, 4, 3, 1, 1), numbers(2, 4))

    assert not shapes(graph([node], held, (1, 3, 4, 4)).onnx)[0].biased
    assert shapes(graph([other], more, (1, 3, 4, 4)).onnx)[0].biased
