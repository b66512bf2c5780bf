"""What the tests of the closed loop share: two toys, and candidates that nobody builds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler.belief import Belief
from compiler.candidates import Candidate, Latencies
from compiler.closed_loop import ClosedLoop
from compiler.dissection import Dissection
from compiler.journal import Journals, unwritten
from compiler.judged import Judged
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.progress import Silent
from compiler.quality import Quality
from compiler.search_space import SearchSpace
from profilers.measurement import Measurement
from tests.compiler.latency_cases import plain_model, stitches_between

Toys = tuple[Dissection, Dissection]


@dataclass
class Pretended:
    """Candidates that nobody builds: quality and latency in microseconds by rule."""

    quality: Callable[[Blueprint], float]
    latency: Callable[[Blueprint], float]
    peak: Callable[[Blueprint], int | None] = lambda _: None
    noisy: Callable[[Blueprint], bool] = lambda _: False
    made: list[Blueprint] = field(default_factory=list)

    def make(self, blueprint: Blueprint) -> Candidate:
        self.made.append(blueprint)
        seconds = self.latency(blueprint) * 1e-6
        measured = Measurement(
            "key",
            str(blueprint),
            ((seconds,) * 3,),
            (0.0,),
            self.noisy(blueprint),
            peak_bytes=self.peak(blueprint),
        )
        return self.recall(blueprint, Latencies(measured))

    def recall(self, blueprint: Blueprint, measured: Latencies) -> Candidate:
        judged = Quality(50, self.quality(blueprint), None, 0.5)
        return Candidate(blueprint, None, Path(), Judged(judged, judged), measured.here)

    def confirm(self, blueprint: Blueprint) -> Candidate:
        return self.make(blueprint)


def space_of(
    toys: Toys, narrow: float = 0.5, wide: float = 0.7, wide_upper_us: float | None = None
) -> SearchSpace:
    """Narrow takes 50 us and is right half the time, wide takes 100 us and is right at 0.7.

    With `wide_upper_us` wide takes 90 us, and as much at the upper end.
    """
    options = stitches_between(toys)
    large = Interval(100.0, 100.0) if wide_upper_us is None else Interval(90.0, wide_upper_us)
    blocks = {
        b.name: Interval(whole.median_us / 5, whole.upper_us / 5)
        for d, whole in zip(toys, (Interval(50.0, 50.0), large), strict=True)
        for b in d.blocks
    }
    wholes = {("narrow", 16): Interval(50.0, 50.0), ("wide", 16): large}
    model = plain_model(blocks, wholes, 1.0)
    return SearchSpace(toys, options, model, {("narrow", 16): narrow, ("wide", 16): wide})


def loop_of(
    space: SearchSpace,
    candidates: Pretended,
    belief: Belief | None = None,
    journals: Journals = unwritten,
) -> ClosedLoop:
    made: Any = candidates
    return ClosedLoop(space, made, belief or Belief(), Silent(), journals=journals)


def by_stitches(pure: float, stitched: float) -> Callable[[Blueprint], float]:
    return lambda blueprint: stitched if blueprint.stitches else pure
