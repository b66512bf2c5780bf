"""The flow model: the simple path of highest value under linear rows, proven by CP-SAT.

Every arc is a Boolean. A path is a unit of flow from source to sink; where the graph has a cycle, a
circuit constraint (closed by an arc from sink to source) forbids loops beside the path. All numbers
are integers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from ortools.sat.python import cp_model

from compiler.flow_paths import FlowGraph


@dataclass(frozen=True, slots=True)
class Row:
    """The sum of the coefficients along a path is at most `limit`."""

    coefficients: Mapping[int, int]
    limit: int

    def holds(self, path: Sequence[int]) -> bool:
        """Whether `path` keeps the row."""
        return sum(self.coefficients.get(arc, 0) for arc in path) <= self.limit


_BACKSTOP = 4
"""So many times the asked seconds may pass on the clock."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long, from which seed and with how many workers the solver searches.

    `seconds` are counted, not timed: the same search stops at the same place.
    """

    seconds: float
    seed: int
    workers: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The best path found, and what is proven.

    Attributes:
        path: Arcs in the order of travel, or None.
        value: The path's value; 0 without a path.
        bound: No path has a higher value; None where nothing is known.
        proven: The path is the best there is, or there is none.
    """

    path: tuple[int, ...] | None
    value: int
    bound: int | None
    proven: bool


NOTHING = Answer(None, 0, None, proven=True)
UNDECIDED = Answer(None, 0, None, proven=False)


@cache
def solver_name() -> str:
    """The solver and its version, as answers report it."""
    return f"OR-tools CP-SAT {version('ortools')}"


def best_path(
    graph: FlowGraph,
    arcs: Sequence[int],
    values: Mapping[int, int],
    rows: Sequence[Row],
    cuts: Sequence[frozenset[int]],
    effort: Effort,
    hint: Sequence[int] = (),
) -> Answer:
    """The path over `arcs` with the highest sum of `values`.

    Args:
        graph: Where the arcs lead.
        arcs: The arcs that may be used.
        values: What an arc adds; arcs without a value add 0.
        rows: Linear limits along the path.
        cuts: Sets of arcs that no path may contain whole.
        effort: Time limit, seed and workers.
        hint: A path to begin from, or nothing.
    """
    usable = graph.on_some_walk(arcs)
    if not usable or effort.seconds <= 0:
        return UNDECIDED if usable else NOTHING
    model = cp_model.CpModel()
    chosen = {arc: model.new_bool_var("") for arc in usable}
    _add_flow(model, graph, chosen)
    for row in rows:
        _add_row(model, row, chosen)
    for cut in cuts:
        if cut <= chosen.keys():
            model.add_bool_or([~chosen[arc] for arc in sorted(cut)])
    priced = [arc for arc in usable if values.get(arc)]
    model.maximize(_weighted([values[arc] for arc in priced], [chosen[arc] for arc in priced]))
    if hint:
        travelled = set(hint)
        for arc, literal in chosen.items():
            model.add_hint(literal, arc in travelled)
    return _solve(model, graph, chosen, values, effort)


def _add_flow(
    model: cp_model.CpModel, graph: FlowGraph, chosen: Mapping[int, cp_model.IntVar]
) -> None:
    leave, enter = graph.leaving(chosen), graph.entering(chosen)
    nodes = leave.keys() | enter.keys()
    for node in sorted(nodes):
        entering = [chosen[arc] for arc in enter.get(node, ())]
        leaving = [chosen[arc] for arc in leave.get(node, ())]
        if node == graph.source:
            model.add_exactly_one(leaving)
        elif node == graph.sink:
            model.add_exactly_one(entering)
        else:
            model.add_at_most_one(leaving)
            model.add(cp_model.LinearExpr.sum(entering) == cp_model.LinearExpr.sum(leaving))
    if graph.has_cycle(list(chosen)):
        _forbid_loops(model, graph, chosen, nodes)


def _forbid_loops(
    model: cp_model.CpModel,
    graph: FlowGraph,
    chosen: Mapping[int, cp_model.IntVar],
    nodes: set[int],
) -> None:
    """One circuit through source and sink; a node that it leaves out has a loop of its own."""
    circuit: list[tuple[int, int, cp_model.LiteralT]] = [
        (graph.tails[arc], graph.heads[arc], literal) for arc, literal in chosen.items()
    ]
    circuit.append((graph.sink, graph.source, True))
    circuit += [
        (node, node, model.new_bool_var("")) for node in sorted(nodes - {graph.source, graph.sink})
    ]
    number = {node: index for index, node in enumerate(sorted(nodes))}
    model.add_circuit([(number[tail], number[head], literal) for tail, head, literal in circuit])


def _add_row(model: cp_model.CpModel, row: Row, chosen: Mapping[int, cp_model.IntVar]) -> None:
    counted = [arc for arc in chosen if row.coefficients.get(arc)]
    weights = [row.coefficients[arc] for arc in counted]
    model.add(_weighted(weights, [chosen[arc] for arc in counted]) <= row.limit)


def _weighted(weights: Sequence[int], literals: Sequence[cp_model.IntVar]) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.weighted_sum(list(literals), list(weights))


def _solve(
    model: cp_model.CpModel,
    graph: FlowGraph,
    chosen: Mapping[int, cp_model.IntVar],
    values: Mapping[int, int],
    effort: Effort,
) -> Answer:
    solver = cp_model.CpSolver()
    # Deterministic time, about as many seconds, stops at the same place on every machine; the
    # clock is there for one that is far slower.
    solver.parameters.max_deterministic_time = effort.seconds
    solver.parameters.max_time_in_seconds = _BACKSTOP * effort.seconds
    solver.parameters.random_seed = effort.seed
    solver.parameters.num_workers = effort.workers
    solver.parameters.interleave_search = effort.workers > 1  # the same answer in every run
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return NOTHING
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        assert status == cp_model.UNKNOWN, f"the model is refused: {model.validate()}"
        return UNDECIDED
    path = graph.in_path_order([arc for arc, literal in chosen.items() if solver.value(literal)])
    value = sum(values.get(arc, 0) for arc in path)
    if status == cp_model.OPTIMAL:
        return Answer(path, value, value, proven=True)
    bound = solver.best_objective_bound
    known = math.isfinite(bound) and abs(bound) < 2**62
    return Answer(path, value, math.ceil(bound - 1e-6) if known else None, proven=False)
