"""The closed loop with blocks in int8: their latency and error are learned, gates are kept."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from compiler.belief import Belief
from compiler.candidates import Candidate, Latencies
from compiler.dissection import Dissection
from compiler.effort import Effort
from compiler.judged import Int8Judged
from compiler.network import Blueprint
from targets.budget import Budget
from tests.compiler.int8_cases import int8_space
from tests.compiler.loop_cases import Pretended, loop_of

Toys = tuple[Dissection, Dissection]


@dataclass
class PretendedInInt8(Pretended):
    """Networks with int8 parts have a cosine, too."""

    error: Callable[[Blueprint], float] = lambda _: 0.0

    def recall(self, blueprint: Blueprint, measured: Latencies) -> Candidate:
        made = super().recall(blueprint, measured)
        if not blueprint.quantized:
            return made
        int8 = Int8Judged(1.0 - self.error(blueprint), 0.0)
        return replace(made, judged=replace(made.judged, int8=int8))


def mixed(
    rule: Callable[[Blueprint], float], error: Callable[[Blueprint], float]
) -> "PretendedInInt8":
    return PretendedInInt8(lambda _: 0.6, rule, error=error)


def int8_parts(blueprint: Blueprint) -> int:
    """Blocks in int8 of a toy that is cut at `blocks.0` to `blocks.3`."""
    cuts = ["input", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "output"]
    return sum(cuts.index(b) - cuts.index(a) for _, a, b in blueprint.int8)


def test_a_network_that_misses_the_gate_of_int8_makes_way_for_one_with_less_of_it(
    toys: Toys,
) -> None:
    space = int8_space(toys, error=0.002)
    belief = Belief()
    candidates = mixed(lambda b: 50.0 - 6.0 * int8_parts(b), lambda b: 0.006 * int8_parts(b))

    found = loop_of(space, candidates, belief).search(Budget(latency_us=46.0, stitches=0))

    first, *_ = sorted(found.trials, key=lambda trial: trial.order)
    best = found.trials[0]
    assert best.within
    assert int8_parts(best.candidate.blueprint) == 1
    assert belief.now.int8.error("narrow") >= 3.0 or belief.now.int8.error("wide") >= 3.0
    assert first.order == 0


def test_latency_of_int8_blocks_is_learned(toys: Toys) -> None:
    space = int8_space(toys)
    belief = Belief()
    candidates = mixed(lambda b: 50.0 - 2.0 * int8_parts(b), lambda b: 0.0005 * int8_parts(b))

    loop_of(space, candidates, belief).search(Budget(latency_us=45.0, stitches=0))

    assert belief.now.int8.latency > 1.2
    assert belief.now.here.int8 == belief.now.int8.latency


def test_a_rejected_network_counts_as_failed(toys: Toys) -> None:
    space = int8_space(toys)
    belief = Belief()
    candidates = mixed(lambda b: 50.0 - 6.0 * int8_parts(b), lambda b: 0.001 * int8_parts(b))
    loop = loop_of(space, candidates, belief)
    found = loop.search(Budget(latency_us=40.0, stitches=0))
    (best, *_) = found.trials

    rejected = loop.reject(best)

    assert not rejected.within
    (donor,) = best.candidate.blueprint.donors
    assert belief.now.int8.error(donor) * space.int8_error(best.assembly.arcs) > 0.01


def test_the_search_goes_on_in_float(toys: Toys) -> None:
    space = int8_space(toys)
    candidates = mixed(lambda b: 50.0 - 6.0 * int8_parts(b), lambda _: 0.5)
    loop = loop_of(space, candidates)
    limits, effort = Budget(latency_us=55.0, stitches=0), Effort(1)
    tried = loop.search(limits, effort)

    found = loop.in_float(limits, effort, tried.trials)

    assert found.trials[0].within
    assert not found.trials[0].candidate.blueprint.quantized
