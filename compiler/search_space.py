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
from compiler.elsewhere import HERE, NO_RESIDUAL, Models, Residuals
from compiler.footprint import Calibration, Footprints
from compiler.latency_model import Interval, LatencyModel, total
from compiler.network import Blueprint, Segment
from compiler.path_score import QualityOf, block_score, evened, rounded
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

    def latency(self, arcs: Sequence[str], residual: Interval) -> Interval:
        """The predicted latency of a path."""
        ...

    def latency_on(self, target: str, arcs: Sequence[str], residual: Interval) -> Interval:
        """The predicted latency of a path on another target."""
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
    ) -> None:
        """Take the parts.

        Args:
            dissections: every donor at every input size that may be used.
            options: the stitches offered, at those sizes.
            latency: predicts what they cost.
            quality: measured quality of every uncut donor at every size.
            calibration: of memory and energy; None: nothing was measured of these.
            elsewhere: predicts what they cost on other targets; None: there are none.
        """
        self._dissections = {(d.name, d.input_size): d for d in dissections}
        self._options = tuple(options)
        self._models = {HERE: latency, **(elsewhere or {})}
        self._quality = quality
        self._footprints = Footprints(self._dissections, calibration or Calibration())
        self._steps: dict[str, Step] = {}
        entered = {(o.target_model, o.size, o.target.name) for o in options}
        for dissection in dissections:
            for block in dissection.blocks:
                self._steps[block.name] = block
                if (block.model, block.size, block.start.name) in entered:
                    self._steps[block.name + "^"] = block
        self._steps |= {option_id(option): option for option in options}

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
        steps = self._steps.items()
        residuals = {HERE: believed.residual, **dict(believed.elsewhere)}
        arcs = tuple(self._arc(name, step, believed.drops, residuals) for name, step in steps)
        problem = Problem("maximize", SOURCE, SINK, arcs)
        wants_memory = limits.memory_bytes is not None
        facts = {name: self._facts(step, wants_memory) for name, step in steps}
        return constrained(problem, limits, facts)

    def by_similarity(self, limits: Budget, believed: Believed) -> Problem:
        """The assembly program, scored by how alike the activations are that stitches join.

        A path's score is the sum over its stitches: whole donors score 0.
        """
        problem = self.problem(limits, believed)
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
        counts = range(limits.stitches + 1)
        parts = (self._of_stitches(count, limits, believed) for count in counts)
        return tuple(part for part in parts if part is not None)

    def _of_stitches(
        self, count: int, limits: Budget, believed: Believed
    ) -> tuple[Problem, float] | None:
        """The networks of so many stitches; None where there are not that many stitches."""
        problem = self.by_similarity(replace(limits, stitches=count), believed)
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
        run: list[Block] = []
        for _, step in self.steps(arcs):
            if isinstance(step, Block):
                run.append(step)
            else:
                segments.append(_segment(run))
                run = []
        segments.append(_segment(run))
        return Blueprint(run[0].size, tuple(segments))

    def latency(self, arcs: Sequence[str], residual: Interval) -> Interval:
        """The predicted latency of a path."""
        return self.latency_on(HERE, arcs, residual)

    def latency_on(self, target: str, arcs: Sequence[str], residual: Interval) -> Interval:
        """The predicted latency of a path on another target."""
        model = self._models[target]
        return total([_interval(model, step, residual) for _, step in self.steps(arcs)])

    def stitches(self, arcs: Sequence[str]) -> tuple[StitchFeatures, ...]:
        """What is known of the path's stitches, in order."""
        steps = (step for _, step in self.steps(arcs))
        return tuple(StitchFeatures.of(step) for step in steps if isinstance(step, StitchOption))

    def promised(self, arcs: Sequence[str]) -> float:
        """The path's quality if its stitches cost nothing."""
        return self.expected(arcs, FREE)

    def expected(self, arcs: Sequence[str], drops: DropModel) -> float:
        """The path's quality as far as it can be told without building it."""
        return fsum(self._score(step, drops) for _, step in self.steps(arcs))

    def _arc(self, name: str, step: Step, drops: DropModel, residuals: Residuals) -> Arc:
        score = self._score(step, drops)
        if isinstance(step, Block):
            tail = _node(step.model, step.size, step.start) + "^" * name.endswith("^")
            head = _node(step.model, step.size, step.end)
        else:
            tail = _node(step.source_model, step.size, step.source)
            head = _node(step.target_model, step.size, step.target) + "^"
        return Arc(name, tail, head, score, self._costs(step, residuals))

    def _costs(self, step: Step, residuals: Residuals) -> Amounts:
        counted = step if isinstance(step, Block) else step.shape
        latencies = self._latencies(step, residuals)
        energy = self._footprints.energy_j(step, latencies[0][1])
        return (
            *latencies,
            ("params", float(counted.params)),
            ("macs", float(counted.macs)),
            ("stitches", float(isinstance(step, StitchOption))),
            ("weight_bytes", float(self._footprints.weight_bytes(step))),
            *(() if energy is None else (("energy_j", energy),)),
        )

    def _latencies(self, step: Step, residuals: Residuals) -> list[tuple[str, float]]:
        """The upper end on every target, the one searched for first, by resource."""
        return [
            (
                LATENCY if target == HERE else latency_on(target),
                _interval(model, step, residuals.get(target, NO_RESIDUAL)).upper_us,
            )
            for target, model in self._models.items()
        ]

    def _facts(self, step: Step, wants_memory: bool) -> ArcFacts:
        held, passing = 0.0, 0.0
        if wants_memory:
            held, passing = (
                self._footprints.held_bytes(step),
                self._footprints.passing_bytes(step),
            )
        if isinstance(step, Block):
            return ArcFacts(step.model, held, passing)
        return ArcFacts(None, held, passing, (step.source_model, step.target_model))

    def _score(self, step: Step, drops: DropModel) -> float:
        if isinstance(step, Block):
            return block_score(step, self._quality)
        return rounded(evened(step, self._quality) - drops.drop(StitchFeatures.of(step)))


def _similarity(step: Step) -> float:
    return rounded(step.similarity) if isinstance(step, StitchOption) else 0.0


def option_id(option: StitchOption) -> str:
    """`MODEL@SIZE/CUT>MODEL/CUT`."""
    return (
        f"{option.source_model}@{option.size}/{option.source.name}"
        f">{option.target_model}/{option.target.name}"
    )


def _interval(model: LatencyModel, step: Step, residual: Interval) -> Interval:
    if isinstance(step, Block):
        return model.block(step)
    layer = model.stitch(step.shape, model.seam(step))
    return Interval(
        max(0.0, layer.median_us + residual.median_us),
        max(0.0, layer.upper_us + residual.upper_us),
    )


def _node(model: str, size: int, cut: Cut) -> str:
    if cut.depth == 0.0:
        return SOURCE
    return SINK if cut.depth == 1.0 else f"{model}@{size}/{cut.name}"


def _segment(run: Sequence[Block]) -> Segment:
    return Segment(run[0].model, run[0].start.name, run[-1].end.name)
