"""Cuts: which dimension means what, and which grid lies over the image."""

import pytest
from torch import Tensor, nn

from backends.model import TensorSpec
from compiler.cut import Cut, prefix_tokens, stride_of
from compiler.dissection import dissect


class Square(nn.Module):
    """As many channels as rows and columns: only what comes behind tells the layout."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        kind = nn.Linear if channels_last else (lambda i, o: nn.Conv2d(i, o, 1))
        self.blocks = nn.ModuleList(nn.Sequential(kind(8, 8), nn.ReLU()) for _ in range(3))
        self.channels_last = channels_last
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.channels_last:
            x = x.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        return x.mean((1, 2) if self.channels_last else (2, 3))


def cut(shape: tuple[int, ...], layout: str, prefix: int = 0) -> Cut:
    return Cut("a", 0, TensorSpec("a", shape, "float32", layout), 16, 0.5, prefix)


@pytest.mark.parametrize(("channels_last", "layout"), [(True, "NHWC"), (False, "NCHW")])
def test_equal_sides_are_told_apart_by_what_comes_behind(channels_last: bool, layout: str) -> None:
    dissection = dissect(Square(channels_last), 8)

    assert {inner.tensor.layout for inner in dissection.cuts[1:3]} == {layout}


@pytest.mark.parametrize(
    ("length", "own", "expected"),
    [
        (197, 1, 1),  # ViT: 14 x 14 and a class token
        (197, None, 1),
        (196, 1, 0),  # CaiT: the class token joins later
        (198, 2, 2),  # DeiT, distilled
        (261, 5, 5),  # 16 x 16, a class token and four registers
        (9, 5, 5),  # 2 x 2 and five, though 9 is a square too
        (225 + 17, None, 0),  # no network has 17
    ],
)
def test_prefix_tokens_are_what_a_square_grid_leaves(
    length: int, own: int | None, expected: int
) -> None:
    assert prefix_tokens(TensorSpec("a", (1, length, 64), "float32", "NLC"), own) == expected


def test_only_tokens_have_a_prefix() -> None:
    assert prefix_tokens(TensorSpec("a", (1, 17, 4, 4)), 1) == 0


@pytest.mark.parametrize(
    ("shape", "layout", "prefix", "grid"),
    [
        ((1, 64, 14, 14), "NCHW", 0, (14, 14)),
        ((1, 14, 14, 64), "NHWC", 0, (14, 14)),
        ((1, 197, 64), "NLC", 1, (14, 14)),
        ((1, 200, 64), "NLC", 1, ()),
        ((4, 49, 64), "NLC", 0, ()),  # windows
        ((1, 1000), "NC", 0, ()),
        ((1, 4, 49, 64), "????", 0, ()),
    ],
)
def test_every_layout_lays_its_grid_over_the_image(
    shape: tuple[int, ...], layout: str, prefix: int, grid: tuple[int, ...]
) -> None:
    found = cut(shape, layout, prefix)

    assert found.token_grid == grid
    assert stride_of(224, found.tensor, prefix) == (16 if grid else 0)


def test_channels_are_where_the_layout_says() -> None:
    assert cut((1, 64, 14, 14), "NCHW").channels == 64
    assert cut((1, 14, 14, 96), "NHWC").channels == 96
    assert cut((1, 4, 49, 64), "????").channels == 0
