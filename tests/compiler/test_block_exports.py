"""Block exports: structures that are known need no export, activations are the real ones."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backends.registry import get_backend
from compiler.block_exports import BlockExports, sample, stitch_shapes
from compiler.cache import Cache
from compiler.compatibility import PairRule
from compiler.donors import Donors
from compiler.stitching import StitchShape
from targets.target import get_target

NAME = "test_resnet.random"


@pytest.fixture(scope="module")
def exports(tiny_donors: Donors, tmp_path_factory: pytest.TempPathFactory) -> BlockExports:
    return BlockExports(tiny_donors, Cache(tmp_path_factory.mktemp("exports")))


def test_structures_name_every_block_and_the_whole(
    exports: BlockExports, tiny_donors: Donors
) -> None:
    blocks = tiny_donors.dissection(NAME, 64).blocks

    structures = exports.structures(NAME, 64)

    assert list(structures.blocks) == [block.name for block in blocks]
    assert structures.blocks[blocks[2].name] == exports.block(blocks[2]).structure
    assert structures.whole == exports.whole(NAME, 64).structure
    assert exports.whole(NAME, 64).name == f"{NAME}@64"


def test_known_structures_are_not_exported_again(
    exports: BlockExports, tiny_donors: Donors, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = exports.structures(NAME, 64)
    shape = StitchShape((4, 8, 8), (6, 8, 8))
    stitch = exports.stitch_structure(shape)
    monkeypatch.setattr("compiler.block_exports.ExportedDonor", None)
    monkeypatch.setattr("compiler.block_exports.export", None)

    later = BlockExports(tiny_donors, exports._cache)

    assert later.structures(NAME, 64) == known
    assert later.stitch_structure(shape) == stitch


def test_blocks_are_given_what_really_arrives_at_them(
    exports: BlockExports, tiny_donors: Donors
) -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    dissection = tiny_donors.dissection(NAME, 64)

    found = exports.activations(NAME, 64, image)

    normalized = tiny_donors.preprocessing(NAME, 64).normalize(image)
    third = dissection.blocks[2]
    arriving = dissection.module(dissection.cuts[0], third.start)(normalized)
    assert list(found) == [f"{NAME}@64", *(block.name for block in dissection.blocks)]
    assert torch.equal(torch.from_numpy(found[f"{NAME}@64"]), normalized)
    assert torch.equal(torch.from_numpy(found[third.name]), arriving)


@pytest.mark.parametrize(
    ("shape", "operators"),
    [
        (StitchShape((4, 8, 8), (6, 8, 8)), 1),
        (StitchShape((4, 8, 8), (6, 4, 4)), 1),
        (StitchShape((4, 4, 4), (6, 8, 8)), 2),
    ],
)
def test_a_stitch_is_exported_with_its_resampling(
    exports: BlockExports, shape: StitchShape, operators: int
) -> None:
    model = exports.stitch(shape)

    with get_backend("ort").compile(model, get_target("cpu")) as engine:
        y = engine.run({"x": torch.zeros(1, *shape.source).numpy()})["y"]
    assert y.shape == (1, *shape.target)
    assert model.nodes == operators
    assert exports.stitch(shape) is model


def test_stitch_shapes_are_those_the_rule_allows_cheapest_first(tiny_donors: Donors) -> None:
    none = stitch_shapes(tiny_donors, (64,), PairRule(window=0.0))
    some = stitch_shapes(tiny_donors, (64,), PairRule())
    both = stitch_shapes(tiny_donors, (64, 96), PairRule())

    assert none == ()
    assert [shape.macs for shape in some] == sorted(shape.macs for shape in some)
    assert {shape.kind for shape in some} == {"pointwise", "strided"}
    assert len(set(some)) == len(some)
    assert set(some) < set(both)


@given(total=st.integers(0, 200), count=st.integers(2, 40))
def test_a_sample_is_spread_over_all_costs_with_both_ends(total: int, count: int) -> None:
    shapes = tuple(StitchShape((i + 1, 1, 1), (1, 1, 1)) for i in range(total))

    chosen = sample(shapes, count)

    assert len(chosen) == min(total, count) == len(set(chosen))
    assert list(chosen) == [shape for shape in shapes if shape in set(chosen)]
    assert total == 0 or (chosen[0], chosen[-1]) == (shapes[0], shapes[-1])
