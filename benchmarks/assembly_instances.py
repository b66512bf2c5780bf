"""Instances of the assembly program as real zoos give them, made from a seed.

Donors have a quality, a latency, and blocks between cuts at uneven depths. Blocks score their
donor's quality by the share of depth they cover, as `compiler.search_space` has it; stitches lead
from a cut to cuts of other donors at a like depth, lose a drop of quality, and cost a little. A
stitch is followed by at least one block. Numbers have all their digits, as measured ones do.
"""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from random import Random

from compiler.assembly import assemble, cheapest
from compiler.constraints import ArcFacts, constrained
from compiler.problem import Amounts, Arc, CountLimit, Problem
from targets.budget import Budget

STITCHES = (10, 20)
"""Fewest and most stitches out of a cut."""


@dataclass(frozen=True, slots=True)
class Donor:
    """A pretrained network, as far as the program sees it.

    Attributes:
        quality: top-1 in percent.
        depths: shares of depth of the input, of every cut, and of the output.
        latencies: of the blocks between them, in microseconds.
        params: of the blocks.
        widths: elements of the tensors at the cuts.
    """

    quality: float
    depths: tuple[float, ...]
    latencies: tuple[float, ...]
    params: tuple[int, ...]
    widths: tuple[int, ...]


def zoo_instance(
    donors: int, cuts: int, seed: int, *, share: float = 0.5, backward: bool = False
) -> Problem:
    """Blocks and stitches of `donors` networks with `cuts` cuts each.

    Args:
        donors: how many.
        cuts: of every donor.
        seed: of everything.
        share: where the budget of latency lies between the fastest path and the best path's.
        backward: stitches may also lead to a cut before their own depth; the graph then has cycles.
    """
    random = Random(f"zoo {donors} {cuts} {seed}")
    zoo = [_donor(random, cuts) for _ in range(donors)]
    arcs = [arc for number, donor in enumerate(zoo) for arc in _blocks(number, donor)]
    for number in range(donors):
        for cut in range(1, cuts + 1):
            arcs += _stitches(random, zoo, number, cut, backward)
    return at_share(Problem("maximize", "in", "out", tuple(arcs)), share)


def chain_instance(layers: int, choices: int, seed: int, *, share: float = 0.5) -> Problem:
    """One boundary after the other, and `choices` parallel arcs between two: one for every layer.

    This is the multiple-choice knapsack that layer-wise methods solve.
    """
    random = Random(f"chain {layers} {choices} {seed}")
    arcs = []
    for layer in range(layers):
        scale = random.uniform(0.5, 2)
        for choice in range(choices):
            latency = scale * random.uniform(20, 200)
            score = scale * (latency / 200 / scale) ** 0.5 * random.uniform(0.7, 1)
            costs = (("latency_us", latency), ("memory_bytes", float(random.randrange(10**6))))
            arcs.append(Arc(f"{layer}.{choice}", _at(layer), _at(layer + 1), score, costs))
    return at_share(Problem("maximize", _at(0), _at(layers), tuple(arcs)), share)


def at_share(problem: Problem, share: float) -> Problem:
    """The problem with a budget of latency between the least and what the best path takes."""
    free = replace(problem, limits=())
    least = cheapest(free, "latency_us").cost("latency_us")
    most = assemble(free).cost("latency_us")
    return replace(problem, limits=(("latency_us", least + share * (most - least)),))


def also_limited(problem: Problem, stitches: int) -> Problem:
    """The problem with at most `stitches` stitches, and parameters bound as well."""
    names = tuple(arc.id for arc in problem.arcs if ">" in arc.id)
    best = assemble(problem)
    limits = (*problem.limits, ("params", 0.9 * best.cost("params")))
    return replace(problem, limits=limits, counts=(CountLimit(names, at_most=stitches),))


def also_gated(problem: Problem, stitches: int) -> Problem:
    """The problem under what does not add up: at most 2 donors, and less peak memory than is best.

    Weights are held all the time, activations are shared; at most `stitches` stitches.
    """
    arcs = tuple(replace(arc, costs=_with_stitches(arc)) for arc in problem.arcs)
    free = replace(problem, arcs=arcs)
    told = {arc.id: _arc_facts(arc) for arc in problem.arcs}
    latency_us = dict(problem.limits)["latency_us"]
    limits = (("latency_us", latency_us), ("stitches", float(stitches)))
    used = [told[name] for name in assemble(replace(free, limits=limits)).arcs]
    peak = sum(fact.held_bytes for fact in used) + max(fact.passing_bytes for fact in used)
    budget = Budget(latency_us, stitches, memory_bytes=int(0.8 * peak), donors=2)
    return constrained(free, budget, told)


def facts() -> dict[str, object]:
    """The date, the machine and the versions, for result files."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "ortools")},
    }


def _with_stitches(arc: Arc) -> Amounts:
    kept = tuple(cost for cost in arc.costs if cost[0] != "memory_bytes")
    return (*kept, ("stitches", float(">" in arc.id)))


def _arc_facts(arc: Arc) -> ArcFacts:
    """Of a block its donor, of a stitch those that it joins; four bytes a parameter."""
    held, passing = 4 * arc.cost("params"), arc.cost("memory_bytes")
    if ">" not in arc.id:
        return ArcFacts(arc.id.partition("/")[0], held, passing)
    joined = tuple(end.partition("@")[0] for end in arc.id.split(">"))
    return ArcFacts(None, held, passing, joined)


def _donor(random: Random, cuts: int) -> Donor:
    blocks = cuts + 1
    latency = 10 ** random.uniform(3.2, 4.6)
    quality = 62 + 9 * (latency / 4000) ** 0.35 + random.gauss(0, 2.5)
    marks = sorted(random.random() for _ in range(cuts))
    weights = [random.uniform(0.4, 1.6) for _ in range(blocks)]
    params = 10 ** random.uniform(6.3, 7.7)
    return Donor(
        quality,
        (0.0, *(0.7 * mark + 0.3 * (i + 1) / blocks for i, mark in enumerate(marks)), 1.0),
        tuple(latency * weight / sum(weights) for weight in weights),
        tuple(int(params * random.uniform(0.5, 1.5) * 2 * i / blocks**2) for i in range(blocks)),
        tuple(random.choice((3136, 6272, 12544, 25088)) * 32 for _ in range(blocks + 1)),
    )


def _blocks(number: int, donor: Donor) -> Iterator[Arc]:
    last = len(donor.latencies)
    for block, latency in enumerate(donor.latencies):
        score = donor.quality * (donor.depths[block + 1] - donor.depths[block])
        costs = _costs(latency, 4 * donor.widths[block], donor.params[block])
        head = "out" if block + 1 == last else f"{number}@{block + 1}"
        tail = f"{number}@{block}" if block else "in"
        yield Arc(f"{number}/{block}", tail, head, score, costs)
        if block:
            yield Arc(f"{number}/{block}^", f"{tail}^", head, score, costs)


def _stitches(
    random: Random, zoo: Sequence[Donor], number: int, cut: int, backward: bool
) -> Iterator[Arc]:
    """From one cut to cuts of other donors at a like depth."""
    donor, cuts = zoo[number], len(zoo[number].depths) - 2
    near = {min(max(cut + step, 1), cuts) for step in ((-1, 0, 1) if backward else (0, 1))}
    others = [other for other in range(len(zoo)) if other != number]
    wanted = min(random.randint(*STITCHES), len(others) * len(near))
    chosen = random.sample(range(len(others) * len(near)), wanted)
    ends = [(others[pick // len(near)], sorted(near)[pick % len(near)]) for pick in chosen]
    for other, end in sorted(ends):
        target = zoo[other]
        skipped = target.depths[end] - donor.depths[cut]
        pair = donor.quality, target.quality
        drop = 0.1 + 6 * random.random() ** 2
        score = skipped * (min(pair) if skipped > 0 else max(pair)) - drop
        size = donor.widths[cut] + target.widths[end]
        costs = _costs(size / 9000 * random.uniform(0.8, 1.2), 4 * size, size // 32)
        yield Arc(
            f"{number}@{cut}>{other}@{end}", f"{number}@{cut}", f"{other}@{end}^", score, costs
        )


def _costs(latency_us: float, memory: float, params: int) -> Amounts:
    return (
        ("latency_us", latency_us),
        ("memory_bytes", float(memory)),
        ("params", float(params)),
    )


def _at(layer: int) -> str:
    return f"n{layer}"
