"""Search space: all networks that the donors' blocks and stitches can form, as one problem.

Nodes are boundaries, arcs are blocks and stitches, a network is a path from `in` to `out`. Each
input size is a layer of its own. A path's score is the expected quality: every block adds its
donor's quality times the share of depth it covers, and a stitch takes the drop it causes. Where a
stitch skips or repeats some depth it evens that out, so that a pure donor scores exactly its own
measured quality and nobody gains by covering depth twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Protocol

from compiler.compatibility import StitchOption
from compiler.dissection import Block, Cut, Dissection
from compiler.drop_model import DropModel
from compiler.latency_model import Interval, LatencyModel, total
from compiler.network import Blueprint, Segment
from compiler.problem import Amounts, Arc, Problem

SOURCE, SINK = "in", "out"

Step = Block | StitchOption
QualityOf = Mapping[tuple[str, int], float]
"""Measured quality, 0 to 1, by donor and input size."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a network may cost.

    Attributes:
        latency_us: upper end of the predicted latency, in microseconds.
        stitches: stitching layers.
        params: parameters.
        macs: multiply-accumulates of one inference.
    """

    latency_us: float | None = None
    stitches: int | None = None
    params: int | None = None
    macs: int | None = None

    def amounts(self) -> Amounts:
        """The limits that are set, as the problem wants them."""
        named = {
            "latency_us": self.latency_us,
            "stitches": self.stitches,
            "params": self.params,
            "macs": self.macs,
        }
        return tuple((name, float(value)) for name, value in named.items() if value is not None)


class Space(Protocol):
    """What a search needs to know of the networks that can be assembled."""

    def problem(self, limits: Limits, drops: DropModel, residual: Interval) -> Problem:
        """The assembly program under these limits and beliefs."""
        ...

    def blueprint(self, arcs: Sequence[str]) -> Blueprint:
        """The network that a path describes."""
        ...

    def latency(self, arcs: Sequence[str], residual: Interval) -> Interval:
        """The predicted latency of a path."""
        ...

    def unexplained(self, arcs: Sequence[str]) -> float:
        """Sum of 1 - R2 over the path's stitches."""
        ...

    def promised(self, arcs: Sequence[str]) -> float:
        """The path's quality if its stitches cost nothing."""
        ...


class SearchSpace:
    """Blocks and stitches with their costs and scores, ready to be put to the solver."""

    def __init__(
        self,
        dissections: Sequence[Dissection],
        options: Sequence[StitchOption],
        latency: LatencyModel,
        quality: QualityOf,
    ) -> None:
        """Take the parts.

        Args:
            dissections: every donor at every input size that may be used.
            options: the stitches offered, at those sizes.
            latency: predicts what they cost.
            quality: measured quality of every uncut donor at every size.
        """
        self._dissections = {(d.name, d.input_size): d for d in dissections}
        self._options = tuple(options)
        self._latency = latency
        self._quality = quality
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

    def problem(self, limits: Limits, drops: DropModel, residual: Interval) -> Problem:
        """The assembly program under these limits and beliefs.

        Args:
            limits: what a network may cost.
            drops: quality that a stitch costs.
            residual: latency that a stitch costs beyond its own layer.
        """
        steps = self._steps.items()
        arcs = tuple(self._arc(name, step, drops, residual) for name, step in steps)
        return Problem("maximize", SOURCE, SINK, arcs, limits.amounts(), ())

    def blueprint(self, arcs: Sequence[str]) -> Blueprint:
        """The network that a path describes: runs of neighbouring blocks become segments."""
        segments: list[Segment] = []
        run: list[Block] = []
        for name in arcs:
            step = self._steps[name]
            if isinstance(step, Block):
                run.append(step)
            else:
                segments.append(_segment(run))
                run = []
        segments.append(_segment(run))
        return Blueprint(run[0].size, tuple(segments))

    def latency(self, arcs: Sequence[str], residual: Interval) -> Interval:
        """The predicted latency of a path."""
        return total([self._interval(self._steps[name], residual) for name in arcs])

    def unexplained(self, arcs: Sequence[str]) -> float:
        """Sum of 1 - R2 over the path's stitches."""
        steps = (self._steps[name] for name in arcs)
        return sum(1.0 - step.r2 for step in steps if isinstance(step, StitchOption))

    def promised(self, arcs: Sequence[str]) -> float:
        """The path's quality if its stitches cost nothing."""
        return fsum(self._score(self._steps[name], DropModel(slope=0.0)) for name in arcs)

    def _interval(self, step: Step, residual: Interval) -> Interval:
        if isinstance(step, Block):
            return self._latency.block(step)
        layer = self._latency.stitch(step.shape)
        return Interval(
            max(0.0, layer.median_us + residual.median_us),
            max(0.0, layer.upper_us + residual.upper_us),
        )

    def _arc(self, name: str, step: Step, drops: DropModel, residual: Interval) -> Arc:
        latency_us, score = self._interval(step, residual).upper_us, self._score(step, drops)
        if isinstance(step, Block):
            costs = _costs(latency_us, step.params, step.macs, 0)
            tail = _node(step.model, step.size, step.start) + "^" * name.endswith("^")
            head = _node(step.model, step.size, step.end)
        else:
            costs = _costs(latency_us, step.shape.params, step.shape.macs, 1)
            tail = _node(step.source_model, step.size, step.source)
            head = _node(step.target_model, step.size, step.target) + "^"
        return Arc(name, tail, head, score, costs)

    def _score(self, step: Step, drops: DropModel) -> float:
        if isinstance(step, Block):
            return self._block_score(step)
        return self._stitch_score(step, drops)

    def _block_score(self, block: Block) -> float:
        share = block.end.depth - block.start.depth
        return self._quality[block.model, block.size] * share

    def _stitch_score(self, option: StitchOption, drops: DropModel) -> float:
        left = self._quality[option.source_model, option.size]
        right = self._quality[option.target_model, option.size]
        skipped = option.target.depth - option.source.depth
        evened = skipped * (min(left, right) if skipped > 0 else max(left, right))
        return evened - drops.drop(option.r2)


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


def _costs(latency_us: float, params: int, macs: int, stitches: int) -> Amounts:
    return (
        ("latency_us", latency_us),
        ("params", float(params)),
        ("macs", float(macs)),
        ("stitches", float(stitches)),
    )


def _segment(run: Sequence[Block]) -> Segment:
    return Segment(run[0].model, run[0].start.name, run[-1].end.name)
