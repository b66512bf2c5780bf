"""DeRy's integer program: one block of every set, one a stage, and the best of all there are."""

from dataclasses import replace
from math import fsum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.assembly import Assembly, assemble, cheapest, k_best
from compiler.belief import Belief
from compiler.believed import Believed
from compiler.compatibility import Joints
from compiler.dery_refusal import check_feasible
from compiler.dery_space import joints_of
from compiler.dissection import Dissection, dissect
from compiler.drop_model import DropModel
from compiler.latency_model import Interval
from compiler.network import Blueprint, Segment
from targets.amounts import enough_text
from targets.budget import Budget
from targets.errors import InfeasibleError
from tests.compiler.conftest import Toy
from tests.compiler.dery_cases import Case, partition_of
from tests.compiler.solver_cases import out_of_time

NONE = Interval(0.0, 0.0)
SLOPE = 0.1
DROPS = DropModel.of_slope(SLOPE)
BELIEVED = Believed(DROPS, NONE)
Donors = tuple[Dissection, ...]


@pytest.fixture(scope="module")
def three(toys: tuple[Dissection, Dissection]) -> Donors:
    return (*toys, dissect(Toy(4, seed=3), 16, "slim"))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[list[int]], list[list[float]]]:
    """Cut points, sets and similarities of three donors of four nodes in three blocks."""
    ends = draw(st.lists(st.sampled_from([(1, 2), (1, 3), (2, 3)]), min_size=3, max_size=3))
    row = st.lists(st.integers(0, 2), min_size=3, max_size=3)
    filled = st.lists(row, min_size=3, max_size=3).filter(
        lambda s: {*s[0], *s[1], *s[2]} == {0, 1, 2}
    )
    number = st.floats(0.0, 2.0, allow_subnormal=False)
    alike = st.lists(st.lists(number, min_size=3, max_size=3), min_size=3, max_size=3)
    return ends, draw(filled), draw(alike)


def case_of(donors: Donors, sets: list[list[int]], ends: list[tuple[int, ...]]) -> Case:
    return Case(donors, partition_of(donors, ends, sets))


def straight(donors: Donors) -> Case:
    """Every stage is a set of its own: all is allowed that can be joined."""
    return case_of(donors, [[0, 1, 2]] * len(donors), [(1, 2)] * len(donors))


@given(drawn=cases(), limit=st.floats(50.0, 105.0))
@settings(max_examples=40, deadline=None)
def test_the_answer_is_the_best_of_all_networks_within_the_budget(
    three: Donors,
    drawn: tuple[list[tuple[int, int]], list[list[int]], list[list[float]]],
    limit: float,
) -> None:
    ends, sets, alike = drawn
    case = Case(three, partition_of(three, ends, sets, alike))
    space = case.space

    answer = assemble(space.problem(Budget(latency_us=limit), BELIEVED))
    alikest = assemble(space.by_similarity(Budget(latency_us=limit), BELIEVED))

    fitting = [one for one in case.networks() if case.latency_us(one) <= limit]
    if not fitting:
        assert answer.status == alikest.status == "infeasible"
        return
    assert answer.status == alikest.status == "optimal"
    assert answer.objective == pytest.approx(max(case.quality(one, SLOPE) for one in fitting))
    best = max(fsum(member.similarity for member in one) for one in fitting)
    assert alikest.objective == pytest.approx(best, abs=1e-6)


@given(drawn=cases())
@settings(max_examples=20, deadline=None)
def test_every_network_has_one_block_of_every_set_and_one_a_stage(
    three: Donors, drawn: tuple[list[tuple[int, int]], list[list[int]], list[list[float]]]
) -> None:
    ends, sets, _ = drawn
    case = case_of(three, sets, ends)
    space = case.space

    answers = k_best(space.problem(Budget(), BELIEVED), 30)

    found = [space.members(answer.arcs) for answer in answers]
    assert all([member.stage for member in members] == [0, 1, 2] for members in found)
    assert all({*map(case.partition.set_of, members)} == {0, 1, 2} for members in found)
    assert len({*found}) == len(found)
    assert {*found} == {*case.networks()}


def test_stitches_are_at_the_joints_and_nowhere_else(three: Donors) -> None:
    case = case_of(three[:2], [[0, 1], [1, 0]], [(1,), (2,)])

    joints = joints_of(case.partition)

    assert joints == Joints(((("narrow", "blocks.0"), ("wide", "blocks.1")),))
    pairs = [(o.source_model, o.source.name, o.target.name) for o in case.options]
    assert pairs == [("narrow", "blocks.0", "blocks.1"), ("wide", "blocks.1", "blocks.0")]


def test_a_donors_own_stages_need_no_stitch(three: Donors) -> None:
    space = straight(three).space

    answer = assemble(space.problem(Budget(), BELIEVED))

    assert space.blueprint(answer.arcs) == Blueprint.pure("wide", 16)
    assert answer.objective == pytest.approx(0.7)
    assert space.expected(answer.arcs, DROPS) == pytest.approx(0.7)


def test_a_donor_with_two_blocks_in_a_set_cannot_stay_whole(three: Donors) -> None:
    case = case_of(three[:2], [[0, 1], [0, 0]], [(2,), (2,)])
    space = case.space

    answers = k_best(space.problem(Budget(), BELIEVED), 5)

    stitched = Segment("wide", "input", "blocks.1"), Segment("narrow", "blocks.1", "output")
    assert [space.blueprint(answer.arcs) for answer in answers] == [
        Blueprint(16, stitched),
        Blueprint.pure("narrow", 16),
    ]


def test_the_space_speaks_of_latency_and_quality_as_the_ordinary_one(three: Donors) -> None:
    case = case_of(three[:2], [[0, 1], [0, 0]], [(2,), (2,)])
    space = case.space

    answer = assemble(space.problem(Budget(), BELIEVED))

    assert space.latency(answer.arcs, NONE).median_us == pytest.approx(71.0)
    assert [s.unexplained for s in space.stitches(answer.arcs)] == [pytest.approx(0.2)]
    assert space.promised(answer.arcs) == pytest.approx(0.4 * 0.7 + 0.6 * 0.5)
    assert space.expected(answer.arcs, DROPS) == pytest.approx(answer.objective)


def test_the_same_problem_has_the_same_answer(three: Donors) -> None:
    case = straight(three)

    answers = [
        replace(assemble(case.space.problem(Budget(latency_us=80.0), BELIEVED)), wall_s=0.0)
        for _ in range(2)
    ]

    assert answers[0] == answers[1]
    assert isinstance(answers[0], Assembly)


def refusal(case: Case, limits: Budget) -> str:
    with pytest.raises(InfeasibleError) as refused:
        check_feasible(case.space, limits, Belief())
    return str(refused.value)


def test_limits_that_can_be_kept_are_not_refused(three: Donors) -> None:
    check_feasible(straight(three).space, Budget(latency_us=100.0, stitches=2), Belief())


def test_sets_that_cannot_share_out_the_stages_are_named(three: Donors) -> None:
    case = case_of(three, [[0, 1, 1]] * 2 + [[0, 2, 0]], [(1, 2)] * 3)
    twins = case_of(three, [[0, 1, 1], [2, 1, 1], [0, 1, 1]], [(1, 2)] * 3)

    assert refusal(twins, Budget()) == (
        "No network has one block from each of the 3 equivalence sets at each of the 3 stages: "
        "set 1 (of narrow blocks.0..blocks.0) has blocks of stage 1; "
        "set 2 (of narrow blocks.1..blocks.1) has blocks of stage 2 and 3; "
        "set 3 (of wide blocks.0..blocks.0) has blocks of stage 1. "
        "Use another number of blocks (-k), allow uneven blocks (--epsilon), or add donors."
    )
    check_feasible(case.space, Budget(), Belief())


def test_stages_that_no_stitch_joins_are_said_to_be_so(three: Donors) -> None:
    crossed = partition_of(three[:2], [(2,), (2,)], [[0, 0], [1, 1]])

    assert refusal(Case(three[:2], crossed, stitched=False), Budget()) == (
        "No network has one block from each of the 2 equivalence sets at each of the 2 stages: "
        "there are blocks for it, but the 0 stitches between stages do not lead through them. A "
        "stitch joins maps of channels (no tokens) on the same grid or from one to its half. Use "
        "another number of blocks (-k), or donors that are more alike."
    )
    assert "the least number of stitches is 1, asked for: 0" in refusal(
        Case(three[:2], crossed), Budget(stitches=0)
    )


def test_no_stitch_leads_to_a_finer_grid(three: Donors) -> None:
    case = case_of(three[:2], [[0, 0], [1, 1]], [(3,), (1,)])

    (only,) = case.options

    assert (only.source_model, only.source.grid, only.target.grid) == ("wide", (8, 8), (4, 4))


def test_budgets_that_are_too_small_are_told_what_would_do(three: Donors) -> None:
    case = straight(three)

    said = refusal(case, Budget(latency_us=49.0, params=1, macs=10**9))

    slim = sum(block.params for block in three[2].blocks)
    assert said == (
        "No network with one block from each of the 3 equivalence sets is within the budgets. Of "
        f"all of them the least latency (upper end) is 0.05 ms, asked for: 0.049 ms; the least "
        f"number of parameters is {enough_text('params', slim)}, asked for: 1. Ask for that much, "
        "use other donors, or leave out --mode dery."
    )


def test_budgets_that_contradict_each_other_are_told_the_fastest(three: Donors) -> None:
    case = straight(three)
    slim = sum(block.params for block in three[2].blocks)

    said = refusal(case, Budget(latency_us=60.0, params=slim))

    assert "Each budget can be kept, but not all at once: within the others the fastest" in said
    assert said.split("takes ")[1].startswith("0.075 ms, 16px slim[input..output].")


def test_what_was_not_proven_in_time_is_told_as_what_is_known(
    three: Donors, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, tight = straight(three), Budget(latency_us=49.0)

    monkeypatch.setattr("compiler.dery_refusal.cheapest", out_of_time("feasible"))
    known = refusal(case, tight)
    monkeypatch.setattr("compiler.dery_refusal.cheapest", out_of_time("unknown"))
    unknown = refusal(case, tight)

    head = "Time ran out before it was known whether each budget can be kept by itself"
    assert f"{head}: within the others the fastest takes at most 0.05 ms, 16px " in known
    assert f"{head}. Ask for that much" in unknown


def test_budgets_that_no_latency_would_reconcile_are_said_to_be_so(three: Donors) -> None:
    space = case_of(three[:2], [[0, 0], [0, 1]], [(2,), (2,)]).space
    lean = cheapest(space.problem(Budget(), BELIEVED), "params")

    with pytest.raises(InfeasibleError, match=r"not all at once, at whatever latency\."):
        check_feasible(space, Budget(None, 0, int(lean.cost("params"))), Belief())
    assert space.blueprint(lean.arcs).donors == ("narrow", "wide")
