"""Block exports: structures that are known need no export, activations are the real ones."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backends.deviation import compare
from backends.kernels import Kernel, executed, integer_share
from backends.model import ExportedModel
from backends.quantization import Scheme
from backends.registry import get_backend
from compiler.block_exports import BlockExports, noise_images, sample, stitch_shapes
from compiler.cache import Cache
from compiler.compatibility import PairRule
from compiler.donors import Donors
from compiler.stitching import StitchShape
from targets.errors import UnknownNameError
from targets.target import get_target

CPU = get_target("cpu:threads=1")
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


def test_stitches_that_are_exported_otherwise_are_not_taken_for_those_of_before(
    exports: BlockExports, tiny_donors: Donors, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = StitchShape((4, 8, 8), (6, 8, 8))
    before = exports.stitch_structure(shape)
    monkeypatch.setattr("compiler.block_exports._BIAS", 0.0)

    later = BlockExports(tiny_donors, exports._cache)

    assert later.stitch_structure(shape) == later.stitch(shape).structure != before


def test_an_int8_block_is_one_of_the_same_edges_that_runs_in_integers(
    exports: BlockExports, tiny_donors: Donors
) -> None:
    block = tiny_donors.dissection(NAME, 64).blocks[1]

    int8 = exports.quantized(block)

    assert (int8.inputs, int8.outputs) == (
        exports.block(block).inputs,
        exports.block(block).outputs,
    )
    assert integer_share(convolutions(int8)) > 0.9
    assert integer_share(convolutions(exports.block(block))) == 0.0


def convolutions(model: ExportedModel) -> list[Kernel]:
    return [kernel for kernel in executed(model, CPU) if "Conv" in kernel.op_type]


def test_a_transformer_runs_in_integers_and_keeps_its_answers(
    four_donors: Donors, tmp_path: Path
) -> None:
    exports = BlockExports(four_donors, Cache(tmp_path))
    name = "test_vit.random"
    block = four_donors.dissection(name, 160).blocks[1]

    int8 = exports.quantized(block)

    image = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    found = executed(int8, CPU)
    sample = {"x": exports.activations(name, 160, image)[block.name]}
    assert integer_share(found) > 0.9
    assert any(kernel.op_type == "QGemm" for kernel in found)
    assert compare(exports.block(block), int8, [sample], CPU).cosine > 0.99


def test_int8_variants_are_calibrated_by_the_images(
    exports: BlockExports, tiny_donors: Donors, tmp_path: Path
) -> None:
    block = tiny_donors.dissection(NAME, 64).blocks[1]
    image = torch.rand(1, 3, 80, 70, generator=torch.Generator().manual_seed(0))
    dark, light = (
        BlockExports(tiny_donors, Cache(tmp_path), (image * brightness,))
        for brightness in (0.01, 1.0)
    )

    found = [each.quantized(block) for each in (exports, dark, light, light)]

    keys = [model.key for model in found]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]
    assert len({model.structure for model in found}) == 1


def test_structures_of_int8_are_other_ones_under_another_key(
    exports: BlockExports, tiny_donors: Donors, monkeypatch: pytest.MonkeyPatch
) -> None:
    fp32 = exports.structures(NAME, 64)
    blocks = tiny_donors.dissection(NAME, 64).blocks

    int8 = exports.structures(NAME, 64, "int8")

    assert list(int8.blocks) == list(fp32.blocks)
    assert not set(int8.blocks.values()) & set(fp32.blocks.values())
    assert int8.blocks[blocks[1].name] == exports.quantized(blocks[1]).structure
    assert int8.whole == exports.quantized_whole(NAME, 64).structure
    assert exports.structures(NAME, 64) == fp32
    monkeypatch.setattr("compiler.block_exports.quantize", None)
    assert BlockExports(tiny_donors, exports._cache).structures(NAME, 64, "int8") == int8


def test_another_scheme_has_other_structures(exports: BlockExports, tiny_donors: Donors) -> None:
    symmetric = Scheme(activations="int8", symmetric=True, per_channel=False)
    other = BlockExports(tiny_donors, exports._cache, scheme=symmetric)

    found = other.structures(NAME, 64, "int8")

    assert found.whole != exports.structures(NAME, 64, "int8").whole


def test_a_precision_that_nobody_knows_is_refused(exports: BlockExports) -> None:
    with pytest.raises(UnknownNameError, match=r"precision 'int4'.*Known: fp32, int8"):
        exports.structures(NAME, 64, "int4")


def test_noise_images_are_the_same_each_time_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()

    first, second = noise_images(32), noise_images(32)

    assert torch.equal(torch.get_rng_state(), before)
    assert [image.shape for image in first] == [(1, 3, 32, 32)] * 4
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(image.min() >= 0 and image.max() <= 1 for image in first)


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
