"""Explanation: why the solver's answer is the answer, by solving again with one thing changed.

Everything here is what the zoo's model believes; nothing is measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Literal

from compiler.assembly import Assembly, assemble
from compiler.believed import Believed
from compiler.dissection import Block
from compiler.elsewhere import NO_RESIDUAL
from compiler.int8_offers import precision_of
from compiler.latency_model import Interval
from compiler.precisions import FLOAT
from compiler.problem import Problem
from compiler.refusal import lifted, without_demands
from compiler.search_space import Space
from targets.amounts import words
from targets.budget import Budget
from targets.errors import UsageError

QUALITY = "quality"
STEP = 0.1
"""How far a budget is moved to see what a little more or less of it is worth, as a share of it."""
QUALITY_STEP = 0.02
"""The same of a least quality, in quality."""

ProblemOf = Callable[[Budget], Problem]


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment or stitch of the network, and what it adds.

    Attributes:
        kind: which of the two.
        name: the donor and the cuts a segment lies between; the cuts that a stitch joins.
        latency: what it adds to the latency.
        quality: what it adds to the expected quality; a stitch takes some.
        elsewhere: what it adds to the latency on other targets, by target.
    """

    kind: Literal["segment", "stitch"]
    name: str
    latency: Interval
    quality: float
    elsewhere: tuple[tuple[str, Interval], ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """What there is to be had.

    Attributes:
        asked: for how much of the resource that is varied; None: it is not.
        found: whether there is any network.
        network: it, in words; empty without one.
        latency: its prediction; None without one.
        quality: its expected quality; None without one.
    """

    asked: float | None
    found: bool
    network: str = ""
    latency: Interval | None = None
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit, and whether it decides the answer.

    Attributes:
        name: the resource, or the demand in words.
        asked: the limit; None where it is no amount.
        used: what the network takes of it; None where it is no amount.
        without: what there would be without this limit.
        binds: whether that would be better.
    """

    name: str
    asked: float | None
    used: float | None
    without: Offer
    binds: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a network is the answer.

    Attributes:
        pieces: of the network, in order.
        best: what the model holds for the best by now; another network if that was built first
            and was measured to be worse than it promised, or if costs have changed.
        varied: the resource whose price is told; "quality" for a least quality; None: no limit.
        prices: what there is for less, for the same, and for more of it.
        bounds: every limit.
        runner_up: the best of all other networks.
    """

    pieces: tuple[Piece, ...]
    best: Offer
    varied: str | None
    prices: tuple[Offer, ...]
    bounds: tuple[Bound, ...]
    runner_up: Offer


class Explainer:
    """Solves one build's question again and again."""

    def __init__(
        self, space: Space, problem_of: ProblemOf, budget: Budget, believed: Believed
    ) -> None:
        """Take what the build was asked, and what it was answered by."""
        self._space = space
        self._problem_of = problem_of
        self._budget = budget
        self._believed = believed

    def explain(self, arcs: Sequence[str]) -> Explanation:
        """Why this path.

        Raises:
            UsageError: it leads through blocks or stitches that are no longer offered.
        """
        problem = self._problem_of(self._budget)
        known = {arc.id for arc in problem.arcs}
        if gone := sorted(set(arcs) - known):
            raise UsageError(
                f"The network has the part '{gone[0]}', which this zoo no longer offers under "
                "these limits. Build again with the zoo and the photographs as they are now."
            )
        best = assemble(problem)
        varied, prices = self._prices()
        return Explanation(
            pieces=self._pieces(arcs),
            best=self._offer(best),
            varied=varied,
            prices=prices,
            bounds=self._bounds(arcs, problem, best),
            runner_up=self._offer(assemble(problem, forbid=[frozenset(arcs)])),
        )

    def _offer(self, answer: Assembly, asked: float | None = None) -> Offer:
        if not answer.found:
            return Offer(asked, False)
        arcs, believed = answer.arcs, self._believed
        latency = self._space.latency(arcs, believed.here)
        quality = self._space.expected(arcs, believed.drops)
        return Offer(asked, True, str(self._space.blueprint(arcs)), latency, quality)

    def _pieces(self, arcs: Sequence[str]) -> tuple[Piece, ...]:
        pieces: list[Piece] = []
        run: list[tuple[str, Block]] = []
        for name, step in self._space.steps(arcs):
            if isinstance(step, Block):
                if run and precision_of(run[-1][0]) != precision_of(name):
                    pieces.append(self._segment(run))
                    run = []
                run.append((name, step))
                continue
            pieces += [self._segment(run), self._piece("stitch", name, [name])]
            run = []
        return (*pieces, self._segment(run))

    def _segment(self, run: Sequence[tuple[str, Block]]) -> Piece:
        first, last = run[0][1], run[-1][1]
        name = f"{first.model}, {first.start.name} to {last.end.name}"
        if precision_of(run[0][0]) != FLOAT:
            name += f", in {precision_of(run[0][0])}"
        return self._piece("segment", name, [arc for arc, _ in run])

    def _piece(self, kind: Literal["segment", "stitch"], name: str, arcs: list[str]) -> Piece:
        believed, space = self._believed, self._space
        latency = space.latency(arcs, believed.here)
        residuals = dict(believed.elsewhere)
        elsewhere = tuple(
            (target, space.latency_on(target, arcs, residuals.get(target, NO_RESIDUAL)))
            for target, _ in self._budget.elsewhere
        )
        return Piece(kind, name, latency, space.expected(arcs, believed.drops), elsewhere)

    def _prices(self) -> tuple[str | None, tuple[Offer, ...]]:
        """Of the least quality if there is one, else of latency, else of the first resource."""
        least = self._budget.min_quality
        if least is not None:
            steps = [least - QUALITY_STEP, least, min(1.0, least + QUALITY_STEP)]
            asked = [(q, replace(self._budget, min_quality=q)) for q in steps if q > 0]
            return QUALITY, self._offers(asked)
        limits = [(name, amount) for name, amount in self._budget.amounts() if name != "stitches"]
        if not limits:
            return None, ()
        name, amount = limits[0]
        whole = isinstance(getattr(self._budget, name, None), int)
        steps = [amount * (1 - STEP), amount, amount * (1 + STEP)]
        moved = [max(1, int(step)) if whole else step for step in steps]
        return name, self._offers([(m, self._budget.limited(name, m)) for m in moved])

    def _offers(self, asked: Sequence[tuple[float, Budget]]) -> tuple[Offer, ...]:
        return tuple(
            self._offer(assemble(self._problem_of(budget)), amount) for amount, budget in asked
        )

    def _bounds(self, arcs: Sequence[str], problem: Problem, best: Assembly) -> tuple[Bound, ...]:
        costs, excess = {arc.id: arc for arc in problem.arcs}, dict(self._believed.excess)
        found = []
        for name, asked, used, without in self._lifted():
            answer = assemble(self._problem_of(without))
            binds = _better(answer, best, self._budget)
            took = fsum(costs[arc].cost(name) for arc in arcs) * excess.get(name, 1.0)
            found.append(Bound(name, asked, took if used else None, self._offer(answer), binds))
        return tuple(found)

    def _lifted(self) -> list[tuple[str, float | None, bool, Budget]]:
        """Every limit: name, amount, whether it is on a resource, and the budget without it."""
        budget = self._budget
        found: list[tuple[str, float | None, bool, Budget]] = [
            (name, amount, True, lifted(budget, name)) for name, amount in budget.amounts()
        ]
        if budget.donors is not None:
            found.append(("donors", float(budget.donors), False, replace(budget, donors=None)))
        return found + [(name, None, False, left) for name, left in without_demands(budget)]


def bound_text(name: str) -> str:
    """What a limit is called."""
    return words(name)


def _better(answer: Assembly, best: Assembly, budget: Budget) -> bool:
    """Whether an answer beats the best; to the solver's own exactness."""
    if answer.objective is None:
        return False
    if best.objective is None:
        return True
    gain = answer.objective - best.objective
    if budget.min_quality is not None:
        gain = -gain / (abs(best.objective) or 1.0)
    return gain > 1e-7
