"""Seams: what folding leaves of a stitch is known before a network is built."""

from pathlib import Path

import pytest
from onnx import ModelProto, helper

from compiler.block_exports import BlockExports
from compiler.cache import Cache
from compiler.chains import exported_network, random_networks
from compiler.compatibility import PairRule
from compiler.conv_shapes import ConvShape
from compiler.donors import Donors
from compiler.parts import Parts, stitch_part
from compiler.seams import PLAIN, Grown, Seam, edges, grown
from compiler.stitching import StitchShape
from compiler.zoo import open_zoo
from tests.compiler.folding_cases import conv, graph, numbers

GRID = (7, 7)
STITCH = StitchShape((8, *GRID), (16, *GRID))
BEFORE = ConvShape(8, 48, (1, 1), 49)
BEHIND = ConvShape(96, 16, (1, 1), 49)


def test_a_stitch_between_anything_else_stays_an_operator() -> None:
    assert grown(STITCH, PLAIN) is None
    assert stitch_part(STITCH, PLAIN) == stitch_part(STITCH)
    assert not stitch_part(STITCH).joined


@pytest.mark.parametrize(
    ("target", "seam", "weights"),
    [
        (6, Seam(before=BEFORE), (6 - 8) * 48),
        (16, Seam(behind=BEHIND), 96 * (8 - 16)),
        (9, Seam(before=BEFORE), 48),  # no more than the stitch's own 72
    ],
)
def test_it_is_multiplied_into_the_convolution_beside_it(
    target: int, seam: Seam, weights: int
) -> None:
    stitch = StitchShape((8, *GRID), (target, *GRID))
    part = stitch_part(stitch, seam)

    assert grown(stitch, seam) == Grown(49 * weights, weights)
    assert (part.macs, part.weight_bytes) == (49 * weights, 4 * weights)
    assert (part.joined, part.nodes, part.edge_bytes) == (True, 0, 0)


@pytest.mark.parametrize(
    ("target", "seam"), [(16, Seam(before=BEFORE)), (6, Seam(behind=ConvShape(96, 6, (1, 1), 49)))]
)
def test_a_stitch_that_is_the_narrowest_of_both_saves_work(target: int, seam: Seam) -> None:
    assert grown(StitchShape((8, *GRID), (target, *GRID)), seam) is None


def test_a_stride_goes_into_the_convolution_before_it_alone() -> None:
    strided = StitchShape((8, 14, 14), (8, *GRID))
    before, behind = ConvShape(8, 8, (1, 1), 196), ConvShape(8, 8, (3, 3), 49)

    assert grown(strided, Seam(before=before)) == Grown(-64 * 147, 0)
    assert grown(strided, Seam(behind=behind)) is None


def test_a_padding_convolution_takes_no_stitch_in_since_that_has_a_bias() -> None:
    padded = ConvShape(16, 16, (3, 3), 49, pads=(1, 1, 1, 1))

    assert grown(STITCH, Seam(behind=padded)) is None


def test_a_finer_grid_is_not_looked_into() -> None:
    nearest = StitchShape((8, *GRID), (16, 14, 14))

    assert grown(nearest, Seam(before=BEFORE)) is None


def test_the_ends_of_a_block_are_read_from_its_graph() -> None:
    first, held = conv("x", "h", numbers(1, 6, 4, 1, 1), numbers(2, 6))
    last, more = conv("r", "y", numbers(3, 4, 6, 1, 1), numbers(4, 4))
    between = helper.make_node("Relu", ["h"], ["r"])

    found = edges(graph([first, between, last], held | more, (1, 4, 3, 3)))

    assert found.behind == ConvShape(6, 4, (1, 1), 9)
    assert found.before == ConvShape(4, 6, (1, 1), 9)


def test_a_shortcut_at_an_end_lets_nothing_in() -> None:
    first, held = conv("x", "h", numbers(1, 4, 4, 1, 1), numbers(2, 4))
    added = helper.make_node("Add", ["h", "x"], ["y"])

    assert edges(graph([first, added], held, (1, 4, 3, 3))) == PLAIN


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Donors with linear ends, whose stitches fold, read from a cache that was written before."""
    folder: Path = tmp_path_factory.mktemp("seams")
    zoo = open_zoo(folder, "random:test_efficientnet,random:mobilenetv2_035,random:test_resnet")
    donors = Donors(zoo)
    exports, cache = BlockExports(donors, Cache(folder)), Cache(folder / "parts")
    for name in donors.names:
        Parts(exports, cache).donor(name, 64)
    return Parts(exports, cache)


def test_the_parts_of_a_network_add_up_to_its_folded_graph(parts: Parts) -> None:
    donors = parts.exports.donors
    dissections = [donors.dissection(name, 64) for name in donors.names]
    networks = random_networks(dissections, PairRule(), 12, seed=1)
    joined = 0

    for network in networks:
        chain = parts.chain(network)
        nodes = ModelProto.FromString(exported_network(network, parts.exports).onnx).graph.node
        joined += sum(part.joined for part in chain)
        assert sum(part.nodes for part in chain) == len(nodes)

    assert 0 < joined < sum(network.stitches for network in networks)
