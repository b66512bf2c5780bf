"""Single stitches: the sample is stratified, nested, and always the same."""

from collections import Counter
from dataclasses import replace

import pytest

from compiler.compatibility import StitchOption
from compiler.dissection import Dissection, dissect
from compiler.network import Blueprint, Segment
from compiler.single_stitches import sample, single_stitch
from tests.compiler.conftest import Toy
from tests.compiler.stitch_cases import every_option


@pytest.fixture(scope="module")
def options() -> list[StitchOption]:
    """Three donors, residuals spread from 0.01 on."""
    donors: list[Dissection] = [
        dissect(Toy(6, seed=1), 16, "narrow"),
        dissect(Toy(8, seed=2), 16, "wide"),
        dissect(Toy(4, seed=3), 16, "thin"),
    ]
    return [replace(o, r2=0.99 - 0.01 * i) for i, o in enumerate(every_option(*donors))]


def test_a_stitch_alone_makes_a_network_of_two_segments(toys: tuple[Dissection, ...]) -> None:
    option = next(o for o in every_option(*toys) if o.source.name == "blocks.1")

    assert single_stitch(option) == Blueprint(
        16,
        (
            Segment("narrow", "input", "blocks.1"),
            Segment("wide", option.target.name, "output"),
        ),
    )


def test_pairs_of_donors_take_turns(options: list[StitchOption]) -> None:
    chosen = sample(options, 12)

    pairs = Counter((o.source_model, o.target_model) for o in chosen)
    assert pairs == dict.fromkeys(pairs, 2)
    assert len(pairs) == 6


def test_depths_residuals_and_strides_are_all_in_it(options: list[StitchOption]) -> None:
    chosen = sample(options, 36)

    strided = sum(o.shape.stride > 1 for o in chosen)
    for pair in {(o.source_model, o.target_model) for o in options}:
        depths = {o.source.depth for o in chosen if (o.source_model, o.target_model) == pair}
        assert len(depths) >= 2
    assert 0 < strided < 18


def test_a_larger_sample_begins_with_the_smaller_one(options: list[StitchOption]) -> None:
    small, large = sample(options, 7), sample(options, 20)

    assert large[:7] == small
    assert len(set(map(single_stitch, large))) == 20


def test_it_does_not_hang_on_the_order_in_which_stitches_come(options: list[StitchOption]) -> None:
    assert sample(options, 15) == sample(options[::-1], 15)


def test_all_there_are_is_the_most_there_is(options: list[StitchOption]) -> None:
    chosen = sample(options, 10**6)

    assert sorted(map(str, chosen)) == sorted(map(str, options))


def test_of_no_stitches_none_is_chosen() -> None:
    assert sample([], 5) == ()
