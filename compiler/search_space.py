"""Search space: all networks that the donors' blocks and stitches can form, as one problem.

Nodes are boundaries, arcs are blocks and stitches, a network is a path from `in` to `out`. Each
input size is a layer of its own. A path's score is the expected quality, as `path_score` defines
it: what the donors promise, less the drops of the stitches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import fsum
from typing import Protocol

from compiler.believed import Believed
from compiler.compatibility import StitchOption
from compiler.constraints import ArcFacts, constrained
from compiler.dissection import Block, Cut, Dissection
from compiler.drop_model import FREE, DropModel
from compiler.elsewhere import HERE, NO_RESIDUAL, Correction, Models, Residuals
from compiler.footprint import Calibration, Footprints
from compiler.int8_offers import (
    INT8_ERROR,
    Int8Believed,
    Int8Offer,
    Int8Offers,
    in_float,
    in_int8,
    precision_of,
)
from compiler.latency_model import Interval, LatencyModel, Residual, total
from compiler.network import Blueprint, Segment
from compiler.path_score import QualityOf, block_score, evened, rounded
from compiler.precisions import FLOAT
from compiler.problem import Amounts, Arc, CountLimit, Problem
from compiler.stitch_features import StitchFeatures
from targets.budget import LATENCY, Budget, latency_on

SOURCE, SINK = "in", "out"

Step = Block | StitchOption


class Space(Protocol):
    """What a search needs to know of the networks that can be assembled."""

    def problem(self, limits: Budget, believed: Believed) -> Problem:
        """The assembly program under these limits and beliefs."""
        ...

    def steps(self, arcs: Sequence[str]) -> tuple[tuple[str, Step], ...]:
        """The blocks and stitches of a path; gates are neither."""
        ...

    def blueprint(self, arcs: Sequence[str]) -> Blueprint:
        """The network that a path describes."""
        ...

    def latency(self, arcs: Sequence[str], residual: Correction) -> Interval:
        """The predicted latency of a path."""
        ...

    def latency_on(self, target: str, arcs: Sequence[str], residual: Correction) -> Interval:
        """The predicted latency of a path on another target."""
        ...

    def in_float(self, arcs: Sequence[str]) -> tuple[str, ...]:
        """The same path with all blocks in float."""
        ...

    def int8_error(self, arcs: Sequence[str]) -> float:
        """The predicted `int8_error` of a path, uncorrected."""
        ...

    def int8_latency(self, arcs: Sequence[str]) -> Interval:
        """The predicted latency of a path's int8 blocks, uncorrected."""
        ...

    def stitches(self, arcs: Sequence[str]) -> tuple[StitchFeatures, ...]:
        """What is known of the path's stitches, in order."""
        ...

    def promised(self, arcs: Sequence[str]) -> float:
        """The path's quality if its stitches cost nothing."""
        ...

    def expected(self, arcs: Sequence[str], drops: DropModel) -> float:
        """The path's quality as far as it can be told without building it."""
        ...


class SearchSpace:
    """Blocks and stitches with their costs and scores, ready to be put to the solver."""

    def __init__(
        self,
        dissections: Sequence[Dissection],
        options: Sequence[StitchOption],
        latency: LatencyModel,
        quality: QualityOf,
        calibration: Calibration | None = None,
        elsewhere: Models | None = None,
        int8: Int8Offers | None = None,
    ) -> None:
        """Take the parts.

        Args:
            dissections: every donor at every input size that may be used.
            options: the stitches offered, at those sizes.
            latency: predicts what they cost.
            quality: measured quality of every uncut donor at every size.
            calibration: of memory and energy; None: nothing was measured of these.
            elsewhere: predicts what they cost on other targets; None: there are none.
            int8: the blocks that may be in int8; None: none may.
        """
        self._dissections = {(d.name, d.input_size): d for d in dissections}
        self._options = tuple(options)
        self.int8 = int8 or Int8Offers()
        self._models = {HERE: latency, **(elsewhere or {})}
        self._quality = quality
        self._footprints = Footprints(self._dissections, calibration or Calibration())
        self._steps: dict[str, Step] = {}
        self._offered: dict[str, Int8Offer] = {}
        self._uncorrected: dict[tuple[str, str], Interval] = {}
        self._put_blocks()
        self._steps |= {option_id(option): option for option in options}

    def _put_blocks(self) -> None:
        """An arc for every block; one more where a stitch may enter, and as many in int8."""
        entered = {(o.target_model, o.size, o.target.name) for o in self._options}
        for dissection in self._dissections.values():
            for block in dissection.blocks:
                arcs = [block.name]
                if (block.model, block.size, block.start.name) in entered:
                    arcs.append(block.name + "^")
                self._steps |= dict.fromkeys(arcs, block)
                if block.name in self.int8.blocks:
                    quantized = tuple(map(in_int8, arcs))
                    self._steps |= dict.fromkeys(quantized, block)
                    self._offered |= dict.fromkeys(quantized, self.int8.blocks[block.name])

    @property
    def blocks(self) -> Mapping[str, Block]:
        """The blocks by arc; one that a stitch may enter has two arcs."""
        return {name: step for name, step in self._steps.items() if isinstance(step, Block)}

    def problem(self, limits: Budget, believed: Believed) -> Problem:
        """The assembly program under these limits and beliefs.

        Args:
            limits: what a network may cost.
            believed: what a stitch costs, in quality and beyond its own layer in latency.
        """
        return self._within(limits, believed, *self._priced(limits, believed))

    def _priced(self, limits: Budget, believed: Believed) -> tuple[Problem, dict[str, ArcFacts]]:
        """All networks without limits, and what limits need to know of the arcs."""
        steps = [(name, step) for name, step in self._steps.items() if self._offers(name)]
        residuals: Residuals = {HERE: believed.here, **dict(believed.elsewhere)}
        arcs = tuple(self._arc(name, step, believed, residuals) for name, step in steps)
        wants_memory = limits.memory_bytes is not None
        facts = {name: self._facts(name, step, wants_memory) for name, step in steps}
        return Problem("maximize", SOURCE, SINK, arcs), facts

    def _within(
        self, limits: Budget, believed: Believed, priced: Problem, facts: Mapping[str, ArcFacts]
    ) -> Problem:
        made = constrained(priced, limits, facts)
        if not self.int8.blocks or self.int8.instead:
            return made
        return replace(made, limits=(*made.limits, (INT8_ERROR, believed.int8.limit)))

    def _offers(self, name: str) -> bool:
        """Whether an arc may be taken: a block that is to be in int8 is not offered in float."""
        return not self.int8.instead or in_int8(name) not in self._steps

    def by_similarity(self, limits: Budget, believed: Believed) -> Problem:
        """The assembly program, scored by how alike the activations are that stitches join.

        A path's score is the sum over its stitches: whole donors score 0.
        """
        return self._alike(self.problem(limits, believed))

    def _alike(self, problem: Problem) -> Problem:
        """A program scored by similarity, whatever it was scored by."""
        scores = {name: _similarity(step) for name, step in self._steps.items()}
        arcs = tuple(replace(arc, score=scores.get(arc.id, 0.0)) for arc in problem.arcs)
        return replace(problem, arcs=arcs)

    def similarity_parts(
        self, limits: Budget, believed: Believed
    ) -> tuple[tuple[Problem, float], ...]:
        """The same program for every number of stitches, with what similarity is beyond the score.

        A stitch scores its similarity less 1, so that no cycle gains, and the bounds of paths are
        those of walks: the whole program, in which cycles gain, takes minutes, and these a moment.
        """
        if limits.stitches is None:
            return ((self.by_similarity(limits, believed), 0.0),)
        priced = self._priced(limits, believed)
        counts = range(limits.stitches + 1)
        programs = (
            self._alike(self._within(replace(limits, stitches=count), believed, *priced))
            for count in counts
        )
        parts = map(self._of_stitches, counts, programs)
        return tuple(part for part in parts if part is not None)

    def _of_stitches(self, count: int, problem: Problem) -> tuple[Problem, float] | None:
        """The networks of so many stitches; None where there are not that many stitches."""
        stitches = {name for name, step in self._steps.items() if isinstance(step, StitchOption)}
        there = tuple(arc.id for arc in problem.arcs if arc.id in stitches)
        if len(there) < count:
            return None
        arcs = tuple(
            replace(arc, score=rounded(arc.score - 1.0)) if arc.id in stitches else arc
            for arc in problem.arcs
        )
        least = (CountLimit(there, at_least=count),) if count else ()
        return replace(problem, arcs=arcs, counts=(*problem.counts, *least)), float(count)

    def steps(self, arcs: Sequence[str]) -> tuple[tuple[str, Step], ...]:
        """The blocks and stitches of a path; gates are neither."""
        return tuple((name, self._steps[name]) for name in arcs if name in self._steps)

    def blueprint(self, arcs: Sequence[str]) -> Blueprint:
        """The network that a path describes: runs of neighbouring blocks become segments."""
        segments: list[Segment] = []
        run: list[tuple[str, Block]] = []
        for name, step in self.steps(arcs):
            if isinstance(step, Block):
                run.append((name, step))
            else:
                segments.append(_segment(run))
                run = []
        segments.append(_segment(run))
        return Blueprint(run[0][1].size, tuple(segments))

    def in_float(self, arcs: Sequence[str]) -> tuple[str, ...]:
        """The same path with all blocks in float."""
        return tuple(map(in_float, arcs))

    def int8_error(self, arcs: Sequence[str]) -> float:
        """The predicted `int8_error` of a path, uncorrected."""
        return fsum(self._offered[name].loss.error for name in arcs if name in self._offered)

    def int8_latency(self, arcs: Sequence[str]) -> Interval:
        """The predicted latency of a path's int8 blocks, uncorrected."""
        quantized = [arc for arc in arcs if arc in self._offered]
        return self.latency(quantized, NO_RESIDUAL)

    def latency(self, arcs: Sequence[str], residual: Correction) -> Interval:
        """The predicted latency of a path."""
        return self.latency_on(HERE, arcs, residual)

    def latency_on(self, target: str, arcs: Sequence[str], residual: Correction) -> Interval:
        """The predicted latency of a path on another target."""
        return total([self._interval(target, *step, residual) for step in self.steps(arcs)])

    def stitches(self, arcs: Sequence[str]) -> tuple[StitchFeatures, ...]:
        """What is known of the path's stitches, in order."""
        steps = (step for _, step in self.steps(arcs))
        return tuple(StitchFeatures.of(step) for step in steps if isinstance(step, StitchOption))

    def promised(self, arcs: Sequence[str]) -> float:
        """The path's quality if its stitches cost nothing."""
        return self.expected(arcs, FREE)

    def expected(self, arcs: Sequence[str], drops: DropModel) -> float:
        """The path's quality as far as it can be told without building it."""
        return fsum(self._score(name, step, drops) for name, step in self.steps(arcs))

    def _arc(self, name: str, step: Step, believed: Believed, residuals: Residuals) -> Arc:
        score = self._score(name, step, believed.drops)
        if isinstance(step, Block):
            tail = _node(step.model, step.size, step.start) + "^" * name.endswith("^")
            head = _node(step.model, step.size, step.end)
        else:
            tail = _node(step.source_model, step.size, step.source)
            head = _node(step.target_model, step.size, step.target) + "^"
        return Arc(name, tail, head, score, self._costs(name, step, residuals, believed.int8))

    def _costs(self, name: str, step: Step, residuals: Residuals, int8: Int8Believed) -> Amounts:
        counted = step if isinstance(step, Block) else step.shape
        latencies = self._latencies(name, step, residuals)
        offer = self._offered.get(name)
        energy = self._footprints.energy_j(step, latencies[0][1])
        return (
            *latencies,
            ("params", float(counted.params)),
            ("macs", float(counted.macs)),
            ("stitches", float(isinstance(step, StitchOption))),
            ("weight_bytes", float(self._weight_bytes(name, step))),
            *(() if energy is None else (("energy_j", energy),)),
            *(() if offer is None else ((INT8_ERROR, _error(offer, step, int8)),)),
        )

    def _interval(self, target: str, name: str, step: Step, residual: Correction) -> Interval:
        """The predicted latency of an arc, corrected by what was learned."""
        bare = self._bare(target, name, step)
        if not isinstance(step, Block):
            return Interval(
                max(0.0, bare.median_us + residual.median_us),
                max(0.0, bare.upper_us + residual.upper_us),
            )
        if name not in self._offered:
            return bare
        factor = residual.int8 if isinstance(residual, Residual) else 1.0
        return bare.times(self.int8.latency * factor)

    def _bare(self, target: str, name: str, step: Step) -> Interval:
        """The same as the model has it; looked up once: programs are made again and again."""
        key, model, offer = (target, name), self._models[target], self._offered.get(name)
        if key not in self._uncorrected:
            if isinstance(step, Block):
                found = model.block(step, offer.part) if offer else model.block(step)
            else:
                found = model.stitch(step.shape, model.seam(step))
            self._uncorrected[key] = found
        return self._uncorrected[key]

    def _weight_bytes(self, name: str, step: Step) -> int:
        offer, alone = self._offered.get(name), self._footprints.weight_bytes(step)
        return alone if offer is None else max(0, alone + offer.loss.weight_bytes)

    def _latencies(self, name: str, step: Step, residuals: Residuals) -> list[tuple[str, float]]:
        """The upper end on every target, the one searched for first, by resource."""
        return [
            (
                LATENCY if target == HERE else latency_on(target),
                self._interval(target, name, step, residuals.get(target, NO_RESIDUAL)).upper_us,
            )
            for target in self._models
        ]

    def _facts(self, name: str, step: Step, wants_memory: bool) -> ArcFacts:
        held, passing = 0.0, 0.0
        if wants_memory:
            held, passing = (
                self._footprints.held_bytes(step, self._weight_bytes(name, step)),
                self._footprints.passing_bytes(step),
            )
        if isinstance(step, Block):
            return ArcFacts(step.model, held, passing)
        return ArcFacts(None, held, passing, (step.source_model, step.target_model))

    def _score(self, name: str, step: Step, drops: DropModel) -> float:
        if isinstance(step, Block):
            score = block_score(step, self._quality)
            quantized = name in self._offered
            return rounded(score - self.int8.drop(step.name)) if quantized else score
        return rounded(evened(step, self._quality) - drops.drop(StitchFeatures.of(step)))


def _similarity(step: Step) -> float:
    return rounded(step.similarity) if isinstance(step, StitchOption) else 0.0


def _error(offer: Int8Offer, step: Step, int8: Int8Believed) -> float:
    assert isinstance(step, Block), "a stitch is float"
    return offer.loss.error * int8.error(step.model)


def option_id(option: StitchOption) -> str:
    """`MODEL@SIZE/CUT>MODEL/CUT`."""
    return (
        f"{option.source_model}@{option.size}/{option.source.name}"
        f">{option.target_model}/{option.target.name}"
    )


def _node(model: str, size: int, cut: Cut) -> str:
    if cut.depth == 0.0:
        return SOURCE
    return SINK if cut.depth == 1.0 else f"{model}@{size}/{cut.name}"


def _segment(run: Sequence[tuple[str, Block]]) -> Segment:
    """Neighbouring blocks of a donor, with those of them that are in int8."""
    int8: list[tuple[str, str]] = []
    for name, block in run:
        if precision_of(name) == FLOAT:
            continue
        if int8 and int8[-1][1] == block.start.name:
            int8[-1] = int8[-1][0], block.end.name
        else:
            int8.append((block.start.name, block.end.name))
    first, last = run[0][1], run[-1][1]
    return Segment(first.model, first.start.name, last.end.name, tuple(int8))
