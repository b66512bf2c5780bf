"""Chains: windows and random networks that are measured, and the graphs they are measured by."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from backends.registry import get_backend
from compiler.block_exports import BlockExports
from compiler.cache import Cache
from compiler.chains import exported_network, exported_window, random_networks, windows
from compiler.compatibility import PairRule
from compiler.dissection import Dissection
from compiler.donors import Donors
from compiler.network import Blueprint, Segment, build
from compiler.parts import Parts
from targets.target import get_target

SIZE = 64


@pytest.fixture(scope="module")
def exports(tiny_donors: Donors, tmp_path_factory: pytest.TempPathFactory) -> BlockExports:
    return BlockExports(tiny_donors, Cache(tmp_path_factory.mktemp("chains")))


@pytest.fixture(scope="module")
def parts(exports: BlockExports, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return Parts(exports, Cache(tmp_path_factory.mktemp("parts")))


@pytest.fixture(scope="module")
def donors(tiny_donors: Donors) -> list[Dissection]:
    return [tiny_donors.dissection(name, SIZE) for name in tiny_donors.names]


def test_networks_are_legal_and_each_is_drawn_once(donors: list[Dissection]) -> None:
    rule = PairRule()
    by_name = {donor.name: donor for donor in donors}

    found = random_networks(donors, rule, 10, seed=3)

    assert len(set(found)) == len(found) == 10
    for network in found:
        assert 1 <= network.stitches <= 3
        for left, right in pairwise(network.segments):
            source = by_name[left.model].cut(left.end)
            target = by_name[right.model].cut(right.start)
            assert rule.offers(left.model, source, right.model, target)


def test_networks_are_the_same_for_the_same_seed(donors: list[Dissection]) -> None:
    first, again, other = (random_networks(donors, PairRule(), 5, seed=seed) for seed in (1, 1, 2))

    assert first == again != other


def test_donors_that_cannot_be_joined_give_no_networks(donors: list[Dissection]) -> None:
    assert random_networks(donors[:1], PairRule(), 5) == ()


def test_windows_are_spread_over_what_crosses_between_their_blocks(parts: Parts) -> None:
    names = parts.exports.donors.names
    known = {(name, SIZE): parts.donor(name, SIZE) for name in names}

    few, all_of_them = windows(known, 3), windows(known, 99)

    crossing = [known[w.model, SIZE].chain[w.index].output_bytes for w in all_of_them]
    assert crossing == sorted(crossing)
    assert len(all_of_them) == len({str(w) for w in all_of_them}) == 5 + 4
    assert (few[0], few[-1]) == (all_of_them[0], all_of_them[-1])


def test_a_window_is_two_blocks_in_one_graph(parts: Parts, donors: list[Dissection]) -> None:
    known = {(donor.name, SIZE): parts.donor(donor.name, SIZE) for donor in donors[:1]}
    window = windows(known, 99)[2]

    model = exported_window(window, parts.exports)

    first, second = known[window.model, SIZE].chain[window.index : window.index + 2]
    assert model.nodes == first.nodes + second.nodes
    assert model.inputs[0].nbytes == first.input_bytes
    assert model.outputs[0].nbytes == second.output_bytes


def test_a_chained_network_is_the_network_that_would_be_built(
    parts: Parts, tiny_donors: Donors, donors: list[Dissection]
) -> None:
    """Folded; with the chain's own stitches in it, the same outputs."""
    blueprint = random_networks(donors, PairRule(), 1, seed=5, most_stitches=1)[0]
    exported = exported_network(blueprint, parts.exports)
    network = build(blueprint, tiny_donors)
    generator = torch.Generator().manual_seed(0)
    stitch = network.stitches[0]
    weight = torch.randn(stitch.conv.weight.shape[:2], generator=generator)
    stitch.load(weight / weight.shape[1] ** 0.5, torch.full((len(weight),), 0.01))
    x = np.random.default_rng(0).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)

    with get_backend("ort").compile(exported, get_target("cpu:threads=1")) as engine:
        (found,) = engine.run({exported.inputs[0].name: x}).values()

    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_networks_parts_are_its_segments_blocks_and_its_stitches(
    parts: Parts, donors: list[Dissection]
) -> None:
    left, right = donors
    rule = PairRule()
    source, target = next(
        (s, t) for s in left.cuts for t in right.cuts if rule.offers(left.name, s, right.name, t)
    )
    segments = (
        Segment(left.name, "input", source.name),
        Segment(right.name, target.name, "output"),
    )

    chain = parts.chain(Blueprint(SIZE, segments))

    first, last = parts.donor(left.name, SIZE).chain, parts.donor(right.name, SIZE).chain
    before = sum(block.start.position < source.position for block in left.blocks)
    after = sum(block.start.position >= target.position for block in right.blocks)
    assert [part.kind for part in chain] == ["block"] * before + ["stitch"] + ["block"] * after
    assert chain[:before] == first[:before]
    assert chain[before + 1 :] == last[len(last) - after :]


def test_parts_are_read_from_the_blocks_graphs_and_remembered(
    parts: Parts, tiny_donors: Donors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = tiny_donors.names[0]
    blocks = tiny_donors.dissection(name, SIZE).blocks
    known = parts.donor(name, SIZE)
    model = parts.exports.block(blocks[1])
    monkeypatch.setattr("compiler.block_exports.ExportedDonor", None)

    later = Parts(BlockExports(tiny_donors, Cache(tmp_path)), parts._cache)

    assert later.donor(name, SIZE) == known
    assert known.names == tuple(block.name for block in blocks)
    assert known.chain[1].key == model.structure
    assert known.chain[1].macs == blocks[1].macs
    assert known.chain[1].weight_bytes == model.weight_bytes >= 4 * model.params
    assert known.chain[1].input_bytes == model.inputs[0].nbytes
