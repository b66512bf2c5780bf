"""Path score: pure donors score themselves, and depth counts once."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.assembly import assemble
from compiler.believed import Believed
from compiler.compatibility import StitchOption
from compiler.dissection import Dissection, dissect
from compiler.drop_model import FREE, DropModel
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.path_score import block_score, evened, promised
from compiler.search_space import SearchSpace
from compiler.single_stitches import single_stitch
from targets.budget import Budget
from tests.compiler.conftest import Toy, ToyUnit
from tests.compiler.latency_cases import plain_model, stitches_between
from tests.compiler.stitch_cases import every_option

Toys = tuple[Dissection, Dissection]
share = st.floats(0.0, 1.0, allow_subnormal=False)


def quality_of(narrow: float, wide: float) -> dict[tuple[str, int], float]:
    return {("narrow", 16): narrow, ("wide", 16): wide}


@given(narrow=share, wide=share)
def test_the_blocks_of_a_donor_score_its_quality(toys: Toys, narrow: float, wide: float) -> None:
    quality = quality_of(narrow, wide)

    totals = [sum(steps(block_score(block, quality)) for block in donor.blocks) for donor in toys]

    assert totals == [steps(round(narrow, 9)), steps(round(wide, 9))]


def steps(score: float) -> int:
    """A score in the decimals that it is told in; it has no more of them."""
    assert score == round(score, 9)
    return round(score * 1e9)


@pytest.fixture(scope="module")
def longer() -> Dissection:
    """A donor of seven units, where the toys have four: its shares of depth are others."""
    toy = Toy(8, seed=3)
    toy.blocks.extend(ToyUnit(16, 16, 1) for _ in range(3))
    return dissect(toy.eval(), 16, "deeper")


@given(quality=share)
@settings(max_examples=80, deadline=None)
def test_donors_of_equal_quality_tie_and_the_faster_one_wins_in_any_order(
    toys: Toys, longer: Dissection, quality: float
) -> None:
    donors = (*toys, longer)
    latency = {"narrow": 90.0, "wide": 70.0, "deeper": 80.0}
    blocks = {b.name: Interval(10.0, 10.0) for donor in donors for b in donor.blocks}
    wholes = {(name, 16): Interval(us, us) for name, us in latency.items()}
    model = plain_model(blocks, wholes, 1.0)
    options, qualities = stitches_between(donors), dict.fromkeys(wholes, quality)

    for order in permutations(donors):
        space = SearchSpace(order, options[:: 1 - 2 * (order[0] is longer)], model, qualities)
        problem = space.problem(Budget(), Believed(DropModel.of_slope(0.5), Interval(0, 0)))

        answer = assemble(problem)

        assert space.blueprint(answer.arcs) == Blueprint.pure("wide", 16)
        assert answer.objective == pytest.approx(quality, abs=1e-9)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("blocks.1", "blocks.1", 0.4 * 0.5 + 0.6 * 0.7),
        ("blocks.0", "blocks.1", 0.2 * 0.5 + 0.2 * 0.5 + 0.6 * 0.7),  # skipped: the worse donor's
        ("blocks.1", "blocks.0", 0.4 * 0.5 - 0.2 * 0.7 + 0.8 * 0.7),  # repeated: the better one's
    ],
)
def test_a_network_of_one_stitch_is_promised_its_donors_shares(
    toys: Toys, source: str, target: str, expected: float
) -> None:
    narrow, wide = toys
    option = StitchOption(16, "narrow", narrow.cut(source), "wide", wide.cut(target), 0.6)

    assert promised([option], quality_of(0.5, 0.7)) == pytest.approx(expected)


@given(narrow=share, wide=share)
def test_nobody_is_promised_more_than_the_better_donor(
    toys: Toys, narrow: float, wide: float
) -> None:
    quality = quality_of(narrow, wide)

    for option in every_option(*toys):
        assert min(narrow, wide) - 0.5 <= promised([option], quality) <= max(narrow, wide) + 1e-9
        assert abs(evened(option, quality)) <= 0.45 + 1e-9


@pytest.mark.parametrize("limit", [65.0, 75.0, 85.0])
def test_it_is_what_the_search_space_adds_up(toys: Toys, limit: float) -> None:
    blocks = {
        b.name: Interval(10.0 * (i + 1), 10.0 * (i + 1))
        for i, donor in enumerate(toys)
        for b in donor.blocks
    }
    wholes = {("narrow", 16): Interval(50.0, 50.0), ("wide", 16): Interval(100.0, 100.0)}
    quality, options = quality_of(0.5, 0.7), every_option(*toys)
    space = SearchSpace(toys, options, plain_model(blocks, wholes, 1.0), quality)

    answer = assemble(
        space.problem(Budget(latency_us=limit, stitches=1), Believed(FREE, Interval(0, 0)))
    )

    (option,) = [o for o in options if single_stitch(o) == space.blueprint(answer.arcs)]
    assert space.promised(answer.arcs) == pytest.approx(promised([option], quality))
    assert space.expected(answer.arcs, DropModel()) == pytest.approx(
        promised([option], quality) - DropModel().drop(space.stitches(answer.arcs)[0])
    )


def test_two_stitches_are_promised_three_shares(toys: Toys) -> None:
    narrow, wide = toys
    there = StitchOption(16, "narrow", narrow.cut("blocks.0"), "wide", wide.cut("blocks.0"), 0.6)
    back = StitchOption(16, "wide", wide.cut("blocks.2"), "narrow", narrow.cut("blocks.2"), 0.6)

    found = promised([there, back], quality_of(0.5, 0.7))

    assert found == pytest.approx(0.2 * 0.5 + 0.4 * 0.7 + 0.4 * 0.5)
