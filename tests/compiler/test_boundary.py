"""Boundaries: one grid in three layouts, read as a map and written back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backends.model import TensorSpec
from compiler.boundary import Boundary, FromMap, to_map
from compiler.cut import Cut
from targets.errors import UsageError

LAYOUTS = st.sampled_from(["NCHW", "NHWC", "NLC"])


def cut(layout: str, shape: tuple[int, ...], prefix: int = 0) -> Cut:
    return Cut("blocks.1", 5, TensorSpec("x", shape, layout=layout), 16, 0.5, prefix)


@given(LAYOUTS, st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_a_map_that_is_written_is_read_back(
    layout: str, channels: int, side: int, batch: int
) -> None:
    boundary = Boundary(layout, channels, side)
    x = torch.arange(batch * channels * side**2).reshape(batch, channels, side, side).float()

    written = FromMap(boundary)(x)

    assert written.shape == (batch, *boundary.shape[1:])
    assert torch.equal(to_map(written, boundary), x)


def test_tokens_before_the_grid_are_dropped_and_made_constants() -> None:
    boundary = Boundary("NLC", 2, 2, 3)
    x = torch.rand(4, 2, 2, 2)

    written = FromMap(boundary)(x)

    assert written.shape == (4, 7, 2)
    assert torch.equal(to_map(written, boundary), x)


@pytest.mark.parametrize(
    ("layout", "shape", "prefix", "expected"),
    [
        ("NCHW", (1, 8, 7, 7), 0, "NCHW 8x7x7"),
        ("NHWC", (1, 7, 7, 8), 0, "NHWC 8x7x7"),
        ("NLC", (1, 50, 8), 1, "NLC 8x7x7+1"),
        ("NLC", (1, 49, 8), 0, "NLC 8x7x7"),
    ],
)
def test_a_cut_with_a_grid_is_a_boundary(
    layout: str, shape: tuple[int, ...], prefix: int, expected: str
) -> None:
    boundary = Boundary.at(cut(layout, shape, prefix), "net")

    assert str(boundary) == expected
    assert boundary.shape == shape
    assert boundary.spec("y") == TensorSpec("y", shape, layout=layout)


@pytest.mark.parametrize(
    ("layout", "shape"), [("NC", (1, 8)), ("NLC", (1, 50, 8)), ("NCHW", (1, 8, 7, 6))]
)
def test_a_cut_without_a_square_grid_is_refused(layout: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as refused:
        Boundary.at(cut(layout, shape), "net")

    assert str(refused.value) == (
        f"Nothing can be joined to net at 'blocks.1': what crosses there, {layout} {shape}, lays "
        "no square grid over the image. Choose another node."
    )


@pytest.mark.parametrize(
    ("layout", "channels", "side", "prefix"),
    [("NWHC", 1, 1, 0), ("NCHW", 0, 1, 0), ("NCHW", 1, 0, 0), ("NCHW", 1, 1, 1), ("NLC", 1, 1, -1)],
)
def test_what_has_no_grid_is_no_boundary(
    layout: str, channels: int, side: int, prefix: int
) -> None:
    with pytest.raises(UsageError, match="is no tensor with a grid"):
        Boundary(layout, channels, side, prefix)
