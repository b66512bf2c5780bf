"""Exact partition: cut points, anchors and sets as one integer program, proven by CP-SAT.

Variables say which blocks are cut, which are anchors, and which block joins which anchor's set.
Every donor's blocks are a path of K arcs from its first boundary to its last; every block that is
cut joins one set, an anchor its own; there are K anchors. For each anchor and each node of a donor,
one at most of the blocks over the node joins, and none if the anchor is not one: this is much
stronger than the same for every block alone, and leaves almost no gap to the linear relaxation.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from compiler.block_space import QUANTUM, BlockSpace, Int
from compiler.cover import Cover, cover

Literals = dict[int, cp_model.IntVar]


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """What the integer program found.

    Attributes:
        best: the best cover found, or the one known before where none is better.
        bound: no cover of the given anchors and blocks is worth more, nor is `best`.
        proven: the bound is the value of `best`.
    """

    best: Cover
    bound: float
    proven: bool


def prove(
    space: BlockSpace, known: Cover, anchors: Int, blocks: Int, effort: float, seed: int
) -> Exact:
    """The best cover that has its anchors among `anchors` and its blocks among `blocks`.

    Args:
        space: the blocks.
        known: a cover to begin from; it need not be of these anchors and blocks.
        anchors: blocks that may be anchors.
        blocks: blocks that may be cut.
        effort: the solver's deterministic time, about as many seconds: it stops at the same place
            on every machine.
        seed: of the solver.
    """
    program = _Program(space, np.intersect1d(anchors, blocks), np.unique(blocks))
    return program.solve(known, effort, seed)


class _Program:
    """The integer program over given anchors and blocks; its value counts quanta."""

    def __init__(self, space: BlockSpace, anchors: Int, blocks: Int) -> None:
        self._space = space
        self._model = cp_model.CpModel()
        self._cut: Literals = {int(block): self._model.new_bool_var("") for block in blocks}
        self._anchor: Literals = {int(a): self._model.new_bool_var("") for a in anchors}
        self._joins = {anchor: self._joining(anchor) for anchor in self._anchor}
        self._add_paths()
        self._add_sets()
        self._model.maximize(self._value(anchors, blocks))

    def _joining(self, anchor: int) -> Literals:
        """Who may join an anchor: itself, and whatever does not overlap it."""
        rivals = {anchor, *self._space.rivals(anchor).tolist()}
        others = {b: self._model.new_bool_var("") for b in self._cut if b not in rivals}
        return {anchor: self._anchor[anchor], **others}

    def _add_paths(self) -> None:
        """K blocks lead from each donor's first boundary to its last."""
        space = self._space
        entering, leaving, own = (defaultdict[int, list[cp_model.IntVar]](list) for _ in range(3))
        for block, literal in self._cut.items():
            leaving[int(space.enter[block])].append(literal)
            entering[int(space.leave[block])].append(literal)
            own[int(space.donor[block])].append(literal)
        for donor, (first, last) in enumerate(zip(space.firsts, space.lasts, strict=True)):
            self._model.add_exactly_one(leaving[first])
            self._model.add_exactly_one(entering[last])
            self._model.add(_sum(own[donor]) == space.k)
            for row in range(first + 1, last):
                self._model.add(_sum(entering[row]) == _sum(leaving[row]))

    def _add_sets(self) -> None:
        """Every block that is cut joins one set; only anchors have sets."""
        self._model.add(_sum(list(self._anchor.values())) == self._space.k)
        for block, literal in self._cut.items():
            joined = [joining[block] for joining in self._joins.values() if block in joining]
            self._model.add_exactly_one([*joined, ~literal])
        for anchor, joining in self._joins.items():
            for crowd in self._crowds(block for block in joining if block != anchor):
                members = [joining[block] for block in crowd]
                self._model.add_at_most_one([*members, ~self._anchor[anchor]])

    def _crowds(self, blocks: Iterable[int]) -> Iterable[tuple[int, ...]]:
        """For every node of every donor, those of the blocks that cover it."""
        space = self._space
        over = defaultdict[int, list[int]](list)
        for block in blocks:
            for row in range(space.enter[block], space.leave[block]):
                over[row].append(block)
        return dict.fromkeys(tuple(crowd) for crowd in over.values())

    def _value(self, anchors: Int, blocks: Int) -> cp_model.LinearExprT:
        quanta = np.rint(self._space.similarity(blocks, anchors) / QUANTUM).astype(np.int64)
        position = {int(block): index for index, block in enumerate(blocks)}
        literals, weights = [], []
        for column, anchor in enumerate(self._joins):
            for block, literal in self._joins[anchor].items():
                literals.append(literal)
                weights.append(int(quanta[position[block], column]))
        return cp_model.LinearExpr.weighted_sum(literals, weights)

    def _hint(self, known: Cover) -> None:
        cut, anchors = set(known.blocks.ravel().tolist()), set(known.anchors.tolist())
        for block, literal in self._cut.items():
            self._model.add_hint(literal, block in cut)
        for anchor, literal in self._anchor.items():
            self._model.add_hint(literal, anchor in anchors)

    def solve(self, known: Cover, effort: float, seed: int) -> Exact:
        """Run the solver from a known cover."""
        self._hint(known)
        solver = cp_model.CpSolver()
        solver.parameters.max_deterministic_time = effort
        solver.parameters.random_seed = seed
        solver.parameters.num_workers = 1
        # The relaxation is nearly exact: what counts is that it is solved whole, at once.
        solver.parameters.linearization_level = 2
        solver.parameters.add_lp_constraints_lazily = False
        solver.parameters.cp_model_probing_level = 0
        solver.parameters.symmetry_level = 0
        status = solver.solve(self._model)
        if status == cp_model.INFEASIBLE:
            return Exact(known, known.value, proven=True)
        best = known
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            chosen = [anchor for anchor, literal in self._anchor.items() if solver.value(literal)]
            found = cover(self._space, np.array(chosen))
            assert found is not None, "the program's blocks are a partition around its anchors"
            best = max(known, found, key=lambda found: found.value)
        if status == cp_model.OPTIMAL:
            return Exact(best, best.value, proven=True)
        return Exact(best, max(best.value, _bound(solver)), proven=False)


def _bound(solver: cp_model.CpSolver) -> float:
    bound = solver.best_objective_bound
    known = math.isfinite(bound) and abs(bound) < 2**62
    return math.ceil(bound - 1e-6) * QUANTUM if known else math.inf


def _sum(literals: Sequence[cp_model.IntVar]) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.sum(list(literals))
