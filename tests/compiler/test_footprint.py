"""Footprints: memory and energy of blocks, counted and calibrated by what was measured."""

from types import SimpleNamespace
from typing import Any

import pytest

from compiler.compatibility import StitchOption
from compiler.dissection import Dissection
from compiler.footprint import Calibration, Energy, Footprints, calibrated
from compiler.parts import DonorParts
from profilers.measurement import Measurement
from profilers.parts import Part

Toys = tuple[Dissection, Dissection]


def footprints(toys: Toys, calibration: Calibration | None = None) -> Footprints:
    found = {(toy.name, toy.input_size): toy for toy in toys}
    return Footprints(found, calibration or Calibration())


def stitch(toys: Toys) -> StitchOption:
    narrow, wide = toys
    return StitchOption(16, "narrow", narrow.cut("blocks.1"), "wide", wide.cut("blocks.1"), 0.5)


def test_a_block_holds_what_its_largest_moment_needs(toys: Toys) -> None:
    narrow, _ = toys
    found = footprints(toys)

    sizes = [found.activation_bytes(block) for block in narrow.blocks]

    image, first, second = 3 * 16 * 16, 6 * 8 * 8, 12 * 4 * 4
    assert sizes[0] == 4 * (image + first)  # the picture, and what the convolution writes
    assert sizes[1] == 4 * 3 * first  # the shortcut is kept while the norm reads and writes
    assert sizes[2] == 4 * (first + second)
    assert sizes[3] == 4 * 3 * second


def test_a_stitch_holds_what_it_reads_and_writes(toys: Toys) -> None:
    found = footprints(toys)

    assert found.activation_bytes(stitch(toys)) == 4 * (6 + 8) * 8 * 8
    assert found.weight_bytes(stitch(toys)) == 4 * (6 + 1) * 8


def test_weights_are_those_that_are_exported_where_these_are_known(toys: Toys) -> None:
    first, second, *_ = toys[0].blocks
    found = footprints(toys, Calibration({first.name: 1000}))

    assert found.weight_bytes(first) == 1000
    assert found.weight_bytes(second) == 4 * second.params


def test_memory_is_scaled_by_the_donor_that_exceeds_its_own_most(toys: Toys) -> None:
    plain = footprints(toys)
    whole = [plain._whole_bytes((toy.name, 16)) for toy in toys]
    peaks = {("narrow", 16): 2 * whole[0], ("wide", 16): 3 * whole[1]}
    block = toys[0].blocks[0]

    found = footprints(toys, Calibration(peaks=peaks))

    assert plain.excess == 1.0
    assert found.excess == pytest.approx(3.0)
    assert found.held_bytes(block) == pytest.approx(12 * block.params, abs=1)
    assert found.passing_bytes(block) == pytest.approx(3 * plain.activation_bytes(block), abs=1)


def test_energy_is_what_was_metered_else_the_highest_power_for_that_time(toys: Toys) -> None:
    first, second, *_ = toys[0].blocks
    found = footprints(toys, Calibration(energy=Energy({first.name: 0.25}, 10.0)))

    assert footprints(toys).energy_j(first, 100.0) is None
    assert found.energy_j(first, 100.0) == 0.25
    assert found.energy_j(second, 100.0) == pytest.approx(0.001)
    assert found.energy_j(stitch(toys), 50.0) == pytest.approx(0.0005)


def test_a_profile_calibrates_weights_peaks_and_power() -> None:
    part = Part("structure", "block", 1, 1234, 1, 0, 0)
    donor = DonorParts(("d@16/a..b",), (part,), "whole")
    wanted: Any = SimpleNamespace(donors={("d", 16): donor})
    costs = {
        "structure": Measurement("structure", "b", ((0.001,) * 3,), (0.0,), False, joules=0.002),
        "whole": Measurement(
            "whole", "w", ((0.002,) * 3,), (0.0,), False, peak_bytes=777, joules=0.01
        ),
    }
    table: Any = SimpleNamespace(costs=costs)
    dark: Any = SimpleNamespace(costs={})

    found = calibrated(wanted, table)

    assert found.weight_bytes == {"d@16/a..b": 1234}
    assert found.peaks == {("d", 16): 777}
    assert found.energy == Energy({"d@16/a..b": 0.002}, pytest.approx(5.0))
    assert calibrated(wanted, dark) == Calibration({"d@16/a..b": 1234})
