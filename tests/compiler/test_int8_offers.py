"""Int8 offers: parallel arcs, an error that adds up and is bounded, and what the loop learns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.assembly import assemble, cheapest
from compiler.believed import Believed
from compiler.dissection import Dissection
from compiler.drop_model import FREE
from compiler.int8_offers import (
    INT8_ERROR,
    LIMIT,
    Int8Believed,
    Int8Seen,
    believed_of,
    in_float,
    in_int8,
    precision_of,
)
from compiler.latency_model import Interval, Residual
from compiler.network import Blueprint, Segment
from targets.budget import Budget
from tests.compiler.int8_cases import FLOAT_US, INT8_US, int8_space

Toys = tuple[Dissection, Dissection]
NONE = Interval(0.0, 0.0)
PLAIN = Believed(FREE, NONE)
positive = st.floats(1e-6, 1e6, allow_subnormal=False)


@pytest.mark.parametrize(
    ("name", "quantized"), [("a@16/x..y", "a@16/x..y int8"), ("a@16/x..y^", "a@16/x..y int8^")]
)
def test_an_arc_says_its_precision(name: str, quantized: str) -> None:
    assert in_int8(name) == quantized
    assert in_float(quantized) == name
    assert in_float(name) == name
    assert (precision_of(name), precision_of(quantized)) == ("fp32", "int8")


def test_every_block_has_an_arc_in_either_precision(toys: Toys) -> None:
    problem = int8_space(toys).problem(Budget(), PLAIN)

    arcs = {arc.id: arc for arc in problem.arcs}
    block = toys[0].blocks[1].name
    one, other = arcs[block], arcs[in_int8(block)]
    assert (one.tail, one.head) == (other.tail, other.head)
    assert (one.cost("latency_us"), other.cost("latency_us")) == (FLOAT_US, INT8_US)
    assert (one.cost(INT8_ERROR), other.cost(INT8_ERROR)) == (0.0, 0.001)
    assert one.cost("weight_bytes") - other.cost("weight_bytes") == 8.0
    assert one.score - other.score == pytest.approx(0.0001)
    assert dict(problem.limits) == {INT8_ERROR: pytest.approx(0.01)}


def test_int8_is_used_as_far_as_a_budget_needs_it(toys: Toys) -> None:
    space = int8_space(toys)
    wide = toys[1].blocks
    budget = FLOAT_US * len(wide) - 2 * (FLOAT_US - INT8_US)

    answer = assemble(space.problem(Budget(latency_us=budget, stitches=0), PLAIN))

    blueprint = space.blueprint(answer.arcs)
    assert blueprint.donors == ("wide",)
    assert sum(in_float(arc) != arc for arc in answer.arcs) == 2
    assert space.int8_error(answer.arcs) == pytest.approx(0.002)
    assert space.int8_latency(answer.arcs).median_us == pytest.approx(2 * INT8_US)


def test_a_network_is_predicted_to_pass_its_gate(toys: Toys) -> None:
    space = int8_space(toys, error=0.004)
    worse = Believed(FREE, NONE, int8=Int8Believed(errors=(("wide", 2.0),)))
    blocks = {"narrow": 2, "wide": 2}, {"narrow": 2, "wide": 1}

    for believed, most in zip((PLAIN, worse), blocks, strict=True):
        for donor, count in most.items():
            limits = Budget(stitches=0, excluded=tuple({"narrow", "wide"} - {donor}))
            problem = cheapest(space.problem(limits, believed), "latency_us")
            assert sum(in_float(arc) != arc for arc in problem.arcs) == count
            assert problem.cost(INT8_ERROR) <= 0.01


def test_barred_blocks_are_in_float(toys: Toys) -> None:
    space = int8_space(toys)

    problem = space.problem(Budget(), Believed(FREE, NONE, int8=Int8Believed(barred=True)))

    fastest = cheapest(problem, "latency_us")
    assert space.blueprint(fastest.arcs) == Blueprint.pure("narrow", 16)


def test_asked_for_in_int8_no_block_is_offered_in_float(toys: Toys) -> None:
    space = int8_space(toys, error=0.5, instead=True)

    problem = space.problem(Budget(), PLAIN)

    blocks = [arc.id for arc in problem.arcs if ">" not in arc.id]
    assert all(in_float(arc) != arc for arc in blocks)
    assert problem.limits == ()


def test_neighbours_in_int8_are_one_part_of_their_segment(toys: Toys) -> None:
    space = int8_space(toys)
    names = [block.name for block in toys[0].blocks]
    path = [in_int8(names[0]), in_int8(names[1]), names[2], names[3], in_int8(names[4])]

    cuts = [cut.name for cut in toys[0].cuts]
    parts = ((cuts[0], cuts[2]), (cuts[4], cuts[5]))
    assert space.blueprint(path) == Blueprint(16, (Segment("narrow", "input", "output", parts),))
    assert space.in_float(path) == tuple(names)
    assert space.blueprint(space.in_float(path)) == Blueprint.pure("narrow", 16)


def test_latencies_of_int8_blocks_alone_are_corrected(toys: Toys) -> None:
    space = int8_space(toys, latency=1.5)
    names = [block.name for block in toys[0].blocks]
    path = [in_int8(names[0]), *names[1:]]

    others = FLOAT_US * (len(names) - 1)
    assert space.latency(path, NONE).median_us == pytest.approx(others + 1.5 * INT8_US)
    twice = Residual(0.0, 0.0, 2.0)
    assert space.latency(path, twice).median_us == pytest.approx(others + 3.0 * INT8_US)


def test_nothing_is_believed_where_nothing_was_seen() -> None:
    assert believed_of(()) == Int8Believed()


def test_donors_that_failed_are_held_shorter_and_errors_are_taken_for_the_worst_seen() -> None:
    seen = (
        Int8Seen(("a",), 100.0, 200.0, 0.004, 0.002, True),
        Int8Seen(("a", "b"), 100.0, 100.0, 0.004, 0.006, True),
        Int8Seen(("b",), 100.0, 100.0, 0.008, 0.004, False),
    )

    found = believed_of(seen)

    assert found.latency == pytest.approx((1.0 + 2.0 + 1.0 + 1.0) / 4)
    assert dict(found.errors) == {"a": pytest.approx(1.5), "b": pytest.approx(2.5)}
    assert found.error("c") == 1.0
    assert not found.barred


@given(st.lists(st.tuples(positive, positive, positive, positive, st.booleans()), max_size=5))
def test_a_network_that_failed_is_never_allowed_again(
    rows: list[tuple[float, float, float, float, bool]],
) -> None:
    found = believed_of([Int8Seen(("a",), *row) for row in rows])

    assert found.error("a") >= 1.0
    assert 0.5 <= found.latency <= 3.0
    assert all(row[2] * found.error("a") > LIMIT for row in rows if not row[4])
