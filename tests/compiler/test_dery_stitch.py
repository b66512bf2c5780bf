"""DeRy's layers: the published counts, every transition, and shapes that follow from shapes."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compiler.boundary import Boundary
from compiler.dery_stitch import (
    DeryHead,
    DeryShape,
    DeryStem,
    DeryStitch,
    HeadShape,
    StemShape,
    seeded,
)
from compiler.macs import module_macs
from targets.errors import UsageError

CNN = Boundary("NCHW", 12, 8)
SWIN = Boundary("NHWC", 10, 8)
VIT = Boundary("NLC", 6, 8, 1)
BARE = Boundary("NLC", 6, 8)


def random(boundary: Boundary, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn((batch, *boundary.shape[1:]), generator=generator)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_adapters_of_dery_4_10_3_have_the_published_counts() -> None:
    pairs = [(224, 40), (40, 320), (320, 336)]
    shapes = [DeryShape(Boundary("NCHW", a, 28), Boundary("NCHW", b, 28)) for a, b in pairs]

    assert sum(shape.params for shape in shapes) == 130_448
    assert StemShape(224, Boundary("NCHW", 32, 56)).params == 4_768
    assert HeadShape(Boundary("NCHW", 888, 14), 1000).params == 889_000


@pytest.mark.parametrize(
    ("source", "target", "mode"),
    [
        (CNN, Boundary("NCHW", 16, 8), "cnn2cnn"),
        (CNN, SWIN, "cnn2vit"),
        (CNN, BARE, "cnn2vit"),
        (SWIN, BARE, "vit2vit"),
        (VIT, Boundary("NLC", 9, 8, 1), "vit2vit"),
        (SWIN, CNN, "vit2cnn"),
        (VIT, CNN, "vit2cnn"),
    ],
)
def test_every_transition_has_its_mode(source: Boundary, target: Boundary, mode: str) -> None:
    shape = DeryShape(source, target)
    stitch = DeryStitch(shape)

    assert shape.mode == mode
    assert stitch(random(source)).shape == (2, *target.shape[1:])
    kinds = [type(part) for part in stitch.children()][:3]
    if mode == "vit2vit":
        assert kinds == [nn.LayerNorm, nn.Linear, nn.LeakyReLU]
    else:
        assert kinds == [nn.BatchNorm2d, nn.Conv2d, nn.LeakyReLU]
    assert stitch.project.bias is None
    assert stitch.act.negative_slope == 0.1


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(product(["NCHW", "NHWC", "NLC"], ["NCHW", "NHWC", "NLC"]))),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 9),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_counts_of_a_shape_are_those_of_its_module(
    layouts: tuple[str, str], stride: int, side: int, goal: int, prefixes: tuple[int, int]
) -> None:
    ends = [
        Boundary(layout, channels, grid, prefix if layout == "NLC" else 0)
        for layout, channels, grid, prefix in zip(
            layouts, (3, 5), (side, goal), prefixes, strict=True
        )
    ]
    both_tokens = "NCHW" not in layouts
    shape = DeryShape(*ends, 1 if both_tokens else min(stride, side))
    stitch = DeryStitch(shape).eval()

    made = stitch(random(ends[0]))

    assert made.shape == (2, *ends[1].shape[1:])
    assert count(stitch) == shape.params
    assert module_macs(stitch, random(ends[0], 1)) == shape.macs


def test_a_map_becomes_tokens_row_by_row_and_back() -> None:
    stitch = DeryStitch(DeryShape(CNN, Boundary("NLC", 12, 8))).eval()
    back = DeryStitch(DeryShape(Boundary("NLC", 12, 8), CNN)).eval()
    with torch.no_grad():
        for part in (stitch, back):
            part.project.weight.copy_(torch.eye(12)[:, :, None, None])
    x = random(CNN).abs()

    tokens = stitch(x)

    assert torch.allclose(tokens[0, 8 * 2 + 3], x[0, :, 2, 3], rtol=1e-4)
    assert torch.allclose(back(tokens), x, rtol=1e-4)


def test_class_tokens_go_from_tokens_to_tokens_of_as_many() -> None:
    shape = DeryShape(VIT, Boundary("NLC", 6, 8, 1))
    stitch = DeryStitch(shape).eval()
    x = random(VIT)

    assert shape.keeps_layout
    expected = stitch.act(stitch.project(stitch.norm(x[:, 0])))
    # Another number of rows is multiplied by another kernel on some processors.
    torch.testing.assert_close(stitch(x)[:, 0], expected, rtol=1e-5, atol=1e-6)
    assert shape.macs == 65 * 36


def test_class_tokens_are_dropped_before_a_map() -> None:
    stitch = DeryStitch(DeryShape(VIT, CNN)).eval()
    x = random(VIT)
    other = x.clone()
    other[:, 0] = 7.0

    assert torch.equal(stitch(x), stitch(other))


def test_class_tokens_that_a_map_cannot_give_are_learnt_constants() -> None:
    shape = DeryShape(CNN, VIT)
    stitch = DeryStitch(shape).eval()

    made = stitch(random(CNN))

    assert torch.equal(made[:, 0], torch.zeros(2, 6))
    assert stitch.leave.prefix.requires_grad
    assert shape.params == 12 * 2 + 12 * 6 + 6


def test_a_stride_is_the_kernel_and_divides_the_grid() -> None:
    shape = DeryShape(CNN, Boundary("NCHW", 4, 2), 3)

    assert (shape.side, shape.resamples) == (2, False)
    assert DeryStitch(shape).project.kernel_size == (3, 3)
    assert str(shape) == "dery cnn2cnn, stride 3"


def test_a_grid_that_no_stride_gives_is_interpolated_and_said() -> None:
    shape = DeryShape(CNN, Boundary("NLC", 6, 7), 1)
    stitch = DeryStitch(shape).eval()

    assert stitch(random(CNN)).shape == (2, 49, 6)
    assert str(shape) == "dery cnn2vit, stride 1, resampled to 7x7"
    assert shape.describe() == ("dery cnn2vit, stride 1, resampled to 7x7: NCHW 12x8x8 > NLC 6x7x7")


@pytest.mark.parametrize("stride", [0, 9])
def test_a_stride_that_the_grid_has_not_is_refused(stride: int) -> None:
    with pytest.raises(UsageError) as refused:
        DeryShape(CNN, Boundary("NCHW", 4, 1), stride)

    assert str(refused.value) == (
        f"A stitch from NCHW 12x8x8 cannot have stride {stride}. Use 1 to 8."
    )


def test_a_stride_between_tokens_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        DeryShape(SWIN, BARE, 2)

    assert str(refused.value) == (
        "A dery stitch between tokens (NHWC 10x8x8 to NLC 6x8x8) is a linear layer and has no "
        "stride; stride 2 was asked for. Leave it out."
    )


@pytest.mark.parametrize("target", [Boundary("NCHW", 8, 16), Boundary("NLC", 8, 16, 1)])
def test_the_stem_quarters_the_picture(target: Boundary) -> None:
    shape = StemShape(64, target)
    stem = DeryStem(shape).eval()

    assert StemShape.side_for(64) == 16
    assert stem(torch.zeros(2, 3, 64, 64)).shape == (2, *target.shape[1:])
    assert count(stem) == shape.params
    assert module_macs(stem, torch.zeros(1, 3, 64, 64)) == shape.macs
    assert str(shape) == "dery"


def test_the_stem_interpolates_where_its_segment_has_another_grid() -> None:
    shape = StemShape(64, Boundary("NHWC", 8, 14))

    assert DeryStem(shape)(torch.zeros(2, 3, 64, 64)).shape == (2, 14, 14, 8)
    assert str(shape) == "dery, resampled to 14x14"


@pytest.mark.parametrize("source", [CNN, SWIN, VIT, BARE])
def test_the_head_averages_the_grid_alone(source: Boundary) -> None:
    shape = HeadShape(source, 5)
    head = DeryHead(shape)
    x = random(source)
    grid = x.reshape(2, -1, source.channels)[:, source.prefix :] if not source.is_map else None
    mean = x.mean((2, 3)) if grid is None else grid.mean(1)

    assert torch.allclose(head(x), head.classifier(mean), atol=1e-6)
    assert count(head) == shape.params
    assert module_macs(head, random(source, 1)) == shape.macs
    assert str(shape) == "dery, 5 classes"


def test_a_seed_decides_and_the_global_random_state_stays() -> None:
    state = torch.get_rng_state()

    with seeded(3):
        first = torch.rand(2)
    with seeded(3):
        second = torch.rand(2)

    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
