"""Dissection: cutting anywhere and putting together again changes no bit, in any family."""

from functools import cache
from itertools import pairwise

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from backends.model import TensorSpec
from compiler.dissection import Cut, Dissection, dissect, find_cuts
from targets.errors import UnknownNameError, UsageError, ZooError

FAMILIES = {
    "mobilenetv2_035": {},
    "resnet10t": {},
    "regnety_002": {},
    "convnext_atto": {},
    "vit_tiny_patch16_224": {"img_size": 64},
    "tf_efficientnet_lite0": {},
    "densenet121": {"block_config": (2, 3, 2), "growth_rate": 16},
    "mixer_s32_224": {"img_size": 64},
}
SIZE = 64


@cache
def family(name: str) -> tuple[nn.Module, Dissection]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        donor = timm.create_model(name, pretrained=False, num_classes=20, **FAMILIES[name]).eval()
    return donor, dissect(donor, SIZE, name)


def pixels(batch: int = 2, size: int = SIZE) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


class Unit(nn.Module):
    """A convolution from three channels to three, with an activation behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.act = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.conv(x))
        return y


class Chain(nn.Module):
    """A row of units."""

    def __init__(self, units: int = 3) -> None:
        super().__init__()
        self.units = nn.ModuleList(Unit() for _ in range(units))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.units:
            x = unit(x)
        return x.mean((2, 3))


class Looping(Chain):
    """The third unit sees the input once more."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.units[1](self.units[0](x))
        z: Tensor = self.units[2](y + x)
        return z.mean((2, 3))


class Dense(Chain):
    """The input lives to the end."""

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(x)[:, :, None, None]


class Sharing(nn.Module):
    """Three convolutions, one activation between them all."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.act = nn.Tanh()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.act(self.second(self.act(self.first(x))))).mean((2, 3))


class Parallel(Chain):
    """Two branches side by side to the end."""

    def forward(self, x: Tensor) -> Tensor:
        y, z = self.units[0](x), self.units[1](x)
        return (y + self.units[2](z)).mean((2, 3))


class Twofold(Chain):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        y = self.units[0](x)
        return self.units[1](y), self.units[2](y)


class Rounding(Unit):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).round().long()


class Widening(Unit):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


class ChannelsLast(Chain):
    """Linear layers over the last axis: (N, H, W, C) crosses."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 4, 4)
        self.units = nn.ModuleList(LastUnit() for _ in range(3))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).permute(0, 2, 3, 1)
        for unit in self.units:
            x = unit(x)
        return x.mean((1, 2))


class LastUnit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 12)
        self.act = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.linear(x))
        return y


def runs(dissection: Dissection, data: st.DataObject) -> list[tuple[Cut, Cut]]:
    """Any choice of the inner cuts, as runs from the input to the output."""
    first, *inner, last = dissection.cuts
    chosen = data.draw(st.sets(st.sampled_from(range(len(inner)))))
    cuts = [first, *(inner[i] for i in sorted(chosen)), last]
    return list(pairwise(cuts))


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(data=st.data(), batch=st.integers(1, 3))
def test_cutting_anywhere_and_recomposing_changes_no_bit(
    name: str, data: st.DataObject, batch: int
) -> None:
    donor, dissection = family(name)
    x = pixels(batch)

    y = x
    with torch.no_grad():
        for start, end in runs(dissection, data):
            y = dissection.module(start, end)(y)

        assert torch.equal(y, donor(x))


@pytest.mark.parametrize("name", FAMILIES)
def test_recomposed_blocks_have_the_donors_gradients(name: str) -> None:
    donor, dissection = family(name)
    x = pixels().requires_grad_()
    wanted = [x, *donor.parameters()]
    ours = x

    for block in dissection.blocks:
        ours = dissection.module(block.start, block.end)(ours)

    theirs = torch.autograd.grad(donor(x).square().sum(), wanted)
    found = torch.autograd.grad(ours.square().sum(), wanted)
    assert all(torch.equal(a, b) for a, b in zip(found, theirs, strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_share_the_donors_parameters_by_name_and_hold_each_once(name: str) -> None:
    donor, dissection = family(name)
    own = dict(donor.named_parameters())

    held = [
        (key, value)
        for block in dissection.blocks
        for key, value in dissection.module(block.start, block.end).named_parameters()
    ]

    assert all(own[key] is value for key, value in held)
    assert sorted(key for key, _ in held) == sorted(own)
    assert sum(block.params for block in dissection.blocks) == sum(p.numel() for p in own.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_blocks_macs_are_torchs_own_count(name: str) -> None:
    donor, dissection = family(name)
    counter = FlopCounterMode(display=False)

    with torch.no_grad(), counter:
        donor(pixels(1))

    counts = counter.get_flop_counts()["Global"]
    aten = torch.ops.aten
    layers = sum(counts.get(op, 0) for op in (aten.convolution, aten.addmm, aten.mm))
    assert sum(block.macs for block in dissection.blocks) == layers // 2


@pytest.mark.parametrize("name", FAMILIES)
def test_what_crosses_a_cut_is_as_the_cut_says(name: str) -> None:
    _, dissection = family(name)
    x = pixels(1)

    with torch.no_grad():
        for block in dissection.blocks:
            x = dissection.module(block.start, block.end)(x)

            assert tuple(x.shape) == block.end.tensor.shape
            assert str(x.dtype) == f"torch.{block.end.tensor.dtype}"
    depths = [cut.depth for cut in dissection.cuts]
    assert depths == sorted(set(depths))
    assert (depths[0], depths[-1]) == (0.0, 1.0)


def test_a_residual_network_is_cut_behind_its_units() -> None:
    _, dissection = family("resnet10t")

    cuts = [(c.name, c.channels, c.grid, c.stride, c.depth) for c in dissection.cuts]

    assert cuts == [
        ("input", 3, (64, 64), 1, 0.0),
        ("layer1.0", 64, (16, 16), 4, 0.2),
        ("layer2.0", 128, (8, 8), 8, 0.4),
        ("layer3.0", 256, (4, 4), 16, 0.6),
        ("layer4.0", 512, (2, 2), 32, 0.8),
        ("output", 20, (), 0, 1.0),
    ]


def test_tokens_cross_the_cuts_of_a_transformer() -> None:
    _, dissection = family("vit_tiny_patch16_224")

    cut = dissection.cut("blocks.3")

    assert cut.tensor == TensorSpec("blocks.3", (1, 17, 192), "float32", "NLC")
    assert (cut.channels, cut.grid, cut.stride) == (192, (), 16)
    assert [c.name for c in dissection.cuts[1:-1]] == [f"blocks.{i}" for i in range(12)]


def test_units_inside_a_shortcut_give_way_to_the_unit_around_them() -> None:
    _, dissection = family("mixer_s32_224")

    assert [cut.name for cut in dissection.cuts[1:-1]] == [f"blocks.{i}" for i in range(8)]


def test_channels_last_have_no_grid_that_a_stitch_could_use() -> None:
    dissection = dissect(ChannelsLast(), 32, "last")

    cut = dissection.cut("units.1")

    assert cut.tensor == TensorSpec("units.1", (1, 8, 8, 12), "float32", "NHWC")
    assert (cut.channels, cut.grid, cut.stride) == (12, (), 4)


def test_a_chain_of_layers_is_cut_behind_each_but_the_last() -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)]

    dissection = dissect(nn.Sequential(*layers).eval(), 16, "chain")

    assert [cut.name for cut in dissection.cuts] == ["input", "0", "1", "2", "3", "output"]
    assert [block.params for block in dissection.blocks] == [112, 0, 0, 0, 25]


def test_no_cut_is_made_while_the_input_is_still_needed() -> None:
    dissection = dissect(Looping(), 8, "looping")

    assert [cut.name for cut in dissection.cuts] == ["input", "units.2", "output"]


def test_no_cut_is_made_where_whole_numbers_cross() -> None:
    donor = Chain()
    donor.units[0], donor.units[1] = Rounding(), Widening()

    dissection = dissect(donor.eval(), 8, "rounding")

    assert [cut.name for cut in dissection.cuts] == ["input", "units.1", "units.2", "output"]


def test_a_network_without_a_cut_is_refused() -> None:
    with pytest.raises(ZooError) as caught:
        dissect(Dense(), 8, "dense")

    assert str(caught.value) == (
        "dense has no position where a single activation is live, so it cannot lend blocks. "
        "Leave this donor out."
    )


def test_nodes_lie_between_the_stem_and_the_head() -> None:
    _, dissection = family("resnet10t")

    nodes = [(n.name, n.start.name, n.end.name, n.params) for n in dissection.nodes]

    assert nodes == [
        ("layer1.0", "stem", "layer1.0", 73984),
        ("layer2.0", "layer1.0", "layer2.0", 230144),
        ("layer3.0", "layer2.0", "layer3.0", 919040),
        ("layer4.0", "layer3.0", "layer4.0", 3673088),
    ]
    assert (dissection.stem.tensor.shape, dissection.stem.depth) == ((1, 64, 16, 16), 0.0)
    assert dissection.cut("stem") is dissection.stem
    assert dissection.node("layer3.0").macs == dissection.blocks[2].macs


def test_a_network_that_begins_with_a_node_has_its_input_as_stem() -> None:
    dissection = dissect(Chain(), 8, "chain")

    assert dissection.stem is dissection.cuts[0]
    assert [node.start.name for node in dissection.nodes] == ["input", "units.0", "units.1"]


def test_an_unknown_node_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        family("resnet10t")[1].node("layer5.0")

    assert str(caught.value).startswith("Unknown node of resnet10t 'layer5.0'. Did you mean")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_legal_cut_recomposes_and_holds_the_thinned_ones(name: str) -> None:
    donor, dissection = family(name)
    everywhere = dissection.every_cut()

    x = pixels(3)
    with torch.no_grad():
        for start, end in pairwise(everywhere):
            x = dissection.module(start, end)(x)

        assert torch.equal(x, donor(pixels(3)))
    positions = [cut.position for cut in everywhere]
    assert positions == sorted(set(positions))
    assert set(dissection.cuts) <= set(everywhere)
    assert [cut.depth for cut in everywhere] == sorted(cut.depth for cut in everywhere)


def test_a_network_whose_units_never_leave_one_activation_is_cut_where_it_can_be() -> None:
    dissection = dissect(Parallel(), 8, "parallel")

    assert [cut.name for cut in dissection.cuts] == ["input", "add", "output"]


def test_the_ends_of_a_module_that_is_used_again_are_numbered() -> None:
    donor = Sharing()
    dissection = dissect(donor, 8, "sharing")

    names = [cut.name for cut in dissection.cuts]
    assert names == ["input", "first", "act", "second", "act~2", "third", "output"]
    x = pixels(2, 8)
    for block in dissection.blocks:
        x = dissection.module(block.start, block.end)(x)
    assert torch.equal(x, donor(pixels(2, 8)))


def test_cuts_that_are_not_kept_are_found_by_name_too() -> None:
    _, dissection = family("resnet10t")
    everywhere = dissection.every_cut()

    assert len({cut.name for cut in everywhere}) == len(everywhere)
    assert all(dissection.cut(cut.name) == cut for cut in everywhere)


def test_find_cuts_takes_the_size_that_a_network_says_is_its_own() -> None:
    donor, dissection = family("resnet10t")

    cuts = find_cuts(donor)

    assert [cut.name for cut in cuts] == [cut.name for cut in dissection.cuts]
    assert cuts[0].tensor.shape == (1, 3, 176, 176)
    assert find_cuts(donor, SIZE) == dissection.cuts


def test_a_network_in_train_mode_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        dissect(Chain().train(), 8, "chain")

    assert str(caught.value) == ("chain is in train mode. Call its eval() first: blocks can train.")


def test_the_shapes_of_a_network_without_weights_in_memory_suffice() -> None:
    with torch.device("meta"):
        donor = Chain()

    dissection = dissect(donor, 8, "shapes")

    assert [cut.tensor.shape for cut in dissection.cuts[1:]] == [(1, 3, 8, 8)] * 3 + [(1, 3)]


def test_a_network_that_answers_with_two_tensors_is_refused() -> None:
    with pytest.raises(ZooError) as caught:
        dissect(Twofold(), 8, "twofold")

    assert str(caught.value) == "twofold does not answer with one tensor. Leave this donor out."


def test_blocks_are_named_and_found_by_donor_size_and_cuts(
    toys: tuple[Dissection, Dissection],
) -> None:
    narrow, _ = toys

    names = [block.name for block in narrow.blocks]

    assert names == [
        "narrow@16/input..blocks.0",
        "narrow@16/blocks.0..blocks.1",
        "narrow@16/blocks.1..blocks.2",
        "narrow@16/blocks.2..blocks.3",
        "narrow@16/blocks.3..output",
    ]
    assert narrow.block_called(names[2]) == narrow.blocks[2]


def test_a_longer_run_adds_up_its_blocks(toys: tuple[Dissection, Dissection]) -> None:
    narrow, _ = toys

    run = narrow.block(narrow.cut("blocks.0"), narrow.cut("output"))

    assert run.name == "narrow@16/blocks.0..output"
    assert run.params == sum(block.params for block in narrow.blocks[1:])
    assert run.macs == sum(block.macs for block in narrow.blocks[1:])


def test_an_unknown_cut_is_answered_with_the_nearest(toys: tuple[Dissection, Dissection]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        toys[0].cut("block.3")

    assert str(caught.value).startswith("Unknown cut of narrow 'block.3'. Did you mean 'blocks.3'")
