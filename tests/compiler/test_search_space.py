"""Search space: a pure donor scores its own quality, and two stitches never meet."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from compiler.assembly import assemble, k_best
from compiler.believed import Believed
from compiler.compatibility import PairRule, StitchOption
from compiler.dissection import Dissection, dissect
from compiler.drop_model import FREE, DropModel
from compiler.footprint import Calibration, Energy
from compiler.latency_model import Interval
from compiler.network import Blueprint, Segment
from compiler.search_space import SearchSpace, option_id
from targets.budget import Budget
from tests.compiler.conftest import Toy
from tests.compiler.latency_cases import plain_model

NONE = Interval(0.0, 0.0)
BELIEVED, FREE_STITCHES = Believed(DropModel(), NONE), Believed(FREE, NONE)
Toys = tuple[Dissection, Dissection]
share = st.floats(0.0, 1.0, allow_subnormal=False)


def every_option(toys: Toys, r2: float = 0.8) -> list[StitchOption]:
    rule = PairRule(window=0.45)
    return [
        StitchOption(16, left.name, source, right.name, target, r2)
        for left in toys
        for right in toys
        for source in left.cuts
        for target in right.cuts
        if left is not right and rule.allows(source, target)
    ]


def space_of(
    toys: Toys, quality: tuple[float, float] = (0.5, 0.7), options: list[StitchOption] | None = None
) -> SearchSpace:
    blocks = {
        b.name: Interval(10.0 * (i + 1), 11.0 * (i + 1))
        for i, d in enumerate(toys)
        for b in d.blocks
    }
    wholes = {("narrow", 16): Interval(45.0, 50.0), ("wide", 16): Interval(90.0, 100.0)}
    model = plain_model(blocks, wholes, 1.0)
    qualities = {("narrow", 16): quality[0], ("wide", 16): quality[1]}
    return SearchSpace(toys, every_option(toys) if options is None else options, model, qualities)


def names(dissection: Dissection) -> list[str]:
    return [block.name for block in dissection.blocks]


@given(narrow=share, wide=share)
def test_a_pure_donor_scores_exactly_its_quality(toys: Toys, narrow: float, wide: float) -> None:
    space = space_of(toys, (narrow, wide))
    problem = space.problem(Budget(), BELIEVED)
    scores = {arc.id: arc.score for arc in problem.arcs}

    totals = [sum(scores[name] for name in names(donor)) for donor in toys]

    exact = [round(narrow, 9), round(wide, 9)]
    assert totals == [pytest.approx(score, abs=1e-12) for score in exact]
    assert space.promised(names(toys[0])) == pytest.approx(exact[0], abs=1e-12)


@example(narrow=0.0, wide=0.0, limit=71.0, slope=1.0)  # a tie of a long path and a shorter one
@given(narrow=share, wide=share, limit=st.floats(30.0, 120.0), slope=share)
@settings(max_examples=25, deadline=None)
def test_no_network_has_two_stitches_in_a_row_or_covers_depth_twice_for_gain(
    toys: Toys, narrow: float, wide: float, limit: float, slope: float
) -> None:
    space = space_of(toys, (narrow, wide))
    problem = space.problem(Budget(latency_us=limit), Believed(DropModel.of_slope(slope), NONE))

    for answer in k_best(problem, 5):
        kinds = [">" in arc for arc in answer.arcs]
        assert not any(a and b for a, b in pairwise(kinds))
        assert not kinds[0] and not kinds[-1]
        assert answer.objective is not None
        assert answer.objective <= max(narrow, wide) + 1e-9


def test_every_stitch_enters_a_node_that_only_a_block_leaves(toys: Toys) -> None:
    problem = space_of(toys).problem(Budget(), FREE_STITCHES)

    entered = {arc.head for arc in problem.arcs if ">" in arc.id}

    leaving = [arc for arc in problem.arcs if arc.tail in entered]
    assert entered
    assert all(node.endswith("^") for node in entered)
    assert len(leaving) == len(entered)
    assert not any(">" in arc.id for arc in leaving)


def test_the_fastest_network_is_bought_with_the_latency_at_hand(toys: Toys) -> None:
    space = space_of(toys)

    pure = assemble(space.problem(Budget(latency_us=100.0), BELIEVED))
    slow = assemble(space.problem(Budget(latency_us=99.0), BELIEVED))
    whole = assemble(space.problem(Budget(latency_us=99.0, stitches=0), BELIEVED))

    assert pure.arcs == tuple(names(toys[1]))
    assert pure.objective == pytest.approx(0.7)
    assert 0.5 < (slow.objective or 0.0) < 0.7
    assert slow.cost("stitches") == 1
    assert whole.arcs == tuple(names(toys[0]))


def test_limits_bound_what_networks_are_made_of(toys: Toys) -> None:
    narrow, _ = toys
    params = sum(block.params for block in narrow.blocks)
    macs = sum(block.macs for block in narrow.blocks)
    limits = Budget(None, 2, params, macs)

    answer = assemble(space_of(toys, options=[]).problem(limits, BELIEVED))

    assert limits.amounts() == (("stitches", 2.0), ("params", float(params)), ("macs", float(macs)))
    assert answer.arcs == tuple(names(narrow))
    assert (answer.cost("params"), answer.cost("macs")) == (params, macs)


def test_a_path_reads_as_a_blueprint(toys: Toys) -> None:
    narrow, wide = toys
    option = next(
        o
        for o in every_option(toys)
        if (o.source_model, o.source.name, o.target.name) == ("narrow", "blocks.1", "blocks.1")
    )
    path = [*names(narrow)[:2], option_id(option), names(wide)[2] + "^", *names(wide)[3:]]

    blueprint = space_of(toys).blueprint(path)

    assert option_id(option) == "narrow@16/blocks.1>wide/blocks.1"
    assert blueprint == Blueprint(
        16, (Segment("narrow", "input", "blocks.1"), Segment("wide", "blocks.1", "output"))
    )


@pytest.mark.parametrize(
    ("source", "target", "evened"),
    [
        ("blocks.1", "blocks.1", 0.0),
        ("blocks.0", "blocks.1", 0.2 * 0.5),
        ("blocks.1", "blocks.0", -0.2 * 0.7),
    ],
)
def test_a_stitch_takes_its_drop_and_evens_out_skipped_or_repeated_depth(
    toys: Toys, source: str, target: str, evened: float
) -> None:
    narrow, wide = toys
    option = StitchOption(16, "narrow", narrow.cut(source), "wide", wide.cut(target), 0.6)
    space = space_of(toys, options=[option])

    problem = space.problem(Budget(), Believed(DropModel.of_slope(0.5), NONE))

    (stitch,) = [arc for arc in problem.arcs if ">" in arc.id]
    assert stitch.score == pytest.approx(evened - 0.5 * 0.4)
    (features,) = space.stitches([option_id(option), names(narrow)[0]])
    assert features.unexplained == pytest.approx(0.4)
    assert space.promised([option_id(option)]) == pytest.approx(evened)


def test_a_residual_is_added_to_every_stitch_and_never_makes_time_negative(toys: Toys) -> None:
    space = space_of(toys)
    stitch = option_id(every_option(toys)[0])
    path = [names(toys[0])[0], stitch]

    plain, more, less = (space.latency(path, Interval(us, 2 * us)) for us in (0.0, 5.0, -1000.0))

    assert plain.median_us == pytest.approx(9.0 + 1.0)
    assert more.median_us == pytest.approx(plain.median_us + 5.0)
    assert more.upper_us == pytest.approx(plain.upper_us + 10.0)
    assert (less.median_us, less.upper_us) == (pytest.approx(9.0), pytest.approx(10.0))


def test_sizes_are_layers_of_their_own(toys: Toys) -> None:
    problem = space_of(toys).problem(Budget(), FREE_STITCHES)

    nodes = {arc.tail for arc in problem.arcs} | {arc.head for arc in problem.arcs}

    assert all("@16/" in node for node in nodes - {"in", "out"})


def test_the_solver_decides_among_input_sizes() -> None:
    sizes = [dissect(Toy(6, seed=1), size, "narrow") for size in (16, 32)]
    costs = {
        block.name: Interval(us, us)
        for found, us in zip(sizes, (10.0, 30.0), strict=True)
        for block in found.blocks
    }
    wholes = {("narrow", 16): Interval(50.0, 50.0), ("narrow", 32): Interval(150.0, 150.0)}
    quality = {("narrow", 16): 0.5, ("narrow", 32): 0.6}
    space = SearchSpace(sizes, [], plain_model(costs, wholes, 1.0), quality)

    chosen = [
        space.blueprint(assemble(space.problem(budget, FREE_STITCHES)).arcs).input_size
        for budget in (
            Budget(latency_us=149.0),
            Budget(latency_us=150.0),
            Budget(min_quality=0.5),
            Budget(min_quality=0.55),
            Budget(macs=sum(block.macs for block in sizes[0].blocks)),
        )
    ]

    assert chosen == [16, 32, 16, 32, 16]


def test_memory_energy_and_donors_are_costs_where_they_are_limited(toys: Toys) -> None:
    _, wide = toys
    metered = Calibration(energy=Energy({}, 2.0))
    blocks = {b.name: Interval(10.0, 11.0) for d in toys for b in d.blocks}
    wholes = {("narrow", 16): Interval(50.0, 55.0), ("wide", 16): Interval(50.0, 55.0)}
    model = plain_model(blocks, wholes, 1.0)
    quality = {("narrow", 16): 0.5, ("wide", 16): 0.7}
    space = SearchSpace(toys, every_option(toys), model, quality, metered)
    weights = 4 * sum(block.params for block in wide.blocks)
    most = max(wide.activation_bytes(block.start, block.end) for block in wide.blocks)

    free = assemble(
        space.problem(Budget(memory_bytes=10**9, energy_j=1.0, donors=1), FREE_STITCHES)
    )
    tight = assemble(
        space.problem(Budget(memory_bytes=weights + most - 1, donors=1), FREE_STITCHES)
    )

    assert space.blueprint(free.arcs) == Blueprint.pure("wide", 16)
    assert free.cost("memory_bytes") == weights + most
    assert free.cost("energy_j") == pytest.approx(2.0 * 55.0 * 1e-6)
    assert free.cost("donors") == 1
    assert space.blueprint(tight.arcs) == Blueprint.pure("narrow", 16)
    assert space.expected(free.arcs, FREE) == pytest.approx(0.7)
    assert [name for name, _ in space.steps(free.arcs)] == names(wide)
