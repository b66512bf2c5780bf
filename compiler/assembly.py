"""Assembly: the best network that a problem allows, with its certificate.

`assemble` gives the best path, `k_best` the best few, `cheapest` the least that a resource can cost
(what to tell a user whose budget nothing meets). CP-SAT decides over integers; every number of an
answer is recomputed from the problem's own.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from compiler.cpsat import Answer, solver_name
from compiler.gate_search import Search, search_for
from compiler.path_program import PathProgram
from compiler.problem import Amounts, Problem
from targets.errors import UnknownNameError, UsageError

FORMAT = "derycc.assembly/1"

Status = Literal["optimal", "feasible", "infeasible", "unknown"]

Ended = Literal["enough", "no more", "time"]
"""Why no more answers follow: so many were asked for, there are no more, or time ran out."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """What the solver answered.

    Attributes:
        status: "optimal": proven best, to 1e-9 of the largest score. "feasible": allowed, but time
            ran out before the proof. "infeasible": proven that no path is allowed. "unknown": time
            ran out before either.
        arcs: The path's arc ids from source to sink; empty without a path.
        objective: The path's score, summed from the problem's own numbers; None without a path.
        bound: No allowed path has a better score; None where nothing is known.
        gap: |bound - objective| relative to the larger of the two; 0 when optimal, None where
            unknown.
        costs: What the path costs of every resource that the problem names; empty without a path.
        wall_s: Seconds that the answer took.
        solver: The solver and its version.
        seed: The seed it searched from.
    """

    status: Status
    arcs: tuple[str, ...]
    objective: float | None
    bound: float | None
    gap: float | None
    costs: Amounts
    wall_s: float
    solver: str
    seed: int

    @property
    def found(self) -> bool:
        """Whether there is a path."""
        return bool(self.arcs)

    def cost(self, resource: str) -> float:
        """What the path costs of `resource`; 0 where no arc names it."""
        return dict(self.costs).get(resource, 0.0)

    def to_json(self) -> str:
        """The answer as `derycc solve --json` prints it; `from_json` reads an equal one."""
        return json.dumps(self.content(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def content(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"format": FORMAT, **asdict(self), "costs": dict(self.costs)}

    @classmethod
    def from_json(cls, text: str) -> Assembly:
        """Read what `to_json` wrote."""
        try:
            content = json.loads(text)
            if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
                raise UsageError(
                    f'This is not an answer of the solver: it has no "format": "{FORMAT}". '
                    "Give the assembly.json of a build, or what `derycc solve --json` printed."
                )
            content["costs"] = list(content.get("costs", {}).items())
            return _adapter().validate_python(content)
        except (json.JSONDecodeError, AttributeError, ValidationError) as error:
            raise UsageError(
                f"The answer cannot be read: {error}. Write it again with `derycc solve --json`."
            ) from error


@cache
def _adapter() -> TypeAdapter[Assembly]:
    return TypeAdapter(Assembly)


def assemble(
    problem: Problem,
    *,
    time_limit_s: float = 60,
    seed: int = 0,
    workers: int = 1,
    forbid: Sequence[frozenset[str]] = (),
    tie_break: str | None = "latency_us",
) -> Assembly:
    """The best path from source to sink within the limits and counts.

    Every limit holds for the path's costs as `math.fsum` adds them. The same problem gives the same
    path: paths whose scores are equal (as decimals; to about 1e-10 of the largest score where
    scores have many digits) are ordered by `tie_break`, then by their arc ids from source to sink,
    compared arc by arc as Python compares strings.

    Args:
        problem: What may be assembled.
        time_limit_s: Seconds for everything; a path without proof is then "feasible", nothing is
            "unknown".
        seed: Seed of the search.
        workers: Threads; one is usually fastest here.
        forbid: Sets of arc ids, such as the arcs of earlier answers: no answer contains all arcs of
            one.
        tie_break: The resource of which less is better among equal scores; None, or one that no arc
            costs: skipped.

    Raises:
        UsageError: An argument is not usable. That nothing fits is no error but the status
            "infeasible".
    """
    check_effort(time_limit_s, seed, workers)
    started = time.monotonic()
    search = search_for(problem, seed, workers)
    for arcs in forbid:
        search.forbid(_numbers(problem, arcs))
    return answered(search, started, time_limit_s, tie_order(tie_break))


def k_best(
    problem: Problem,
    k: int,
    *,
    distinct: int = 1,
    time_limit_s: float = 60,
    seed: int = 0,
    workers: int = 1,
    tie_break: str | None = "latency_us",
) -> tuple[Assembly, ...]:
    """The `k` best different paths, the best first; fewer if there are no more.

    With `distinct`, each has at least so many arcs that are not in the first answer, as many that
    are not in the second, and so on: each is the best of the paths that differ so from all earlier
    ones. 1 are all different paths, since no path has only arcs of another.

    Stops after the first answer that is not optimal: what lies behind it is not proven. An
    infeasible problem gives no answers. Ties are ordered as by `assemble`. `time_limit_s` is for
    all answers together.
    """
    return best_few(
        problem,
        k,
        distinct=distinct,
        time_limit_s=time_limit_s,
        seed=seed,
        workers=workers,
        tie_break=tie_break,
    )[0]


def best_few(
    problem: Problem,
    k: int,
    *,
    distinct: int = 1,
    time_limit_s: float = 60,
    seed: int = 0,
    workers: int = 1,
    tie_break: str | None = "latency_us",
) -> tuple[tuple[Assembly, ...], Ended]:
    """The answers of `k_best`, and why no more follow; "no more" is proven."""
    check_effort(time_limit_s, seed, workers)
    if k < 1:
        raise UsageError(f"Asked for the {k} best networks. Ask for 1 or more.")
    if distinct < 1:
        raise UsageError(f"Asked for networks that differ in {distinct} arcs. Ask for 1 or more.")
    deadline = time.monotonic() + time_limit_s
    search = search_for(problem, seed, workers)
    answers: list[Assembly] = []
    while len(answers) < k:
        started = time.monotonic()
        answer = answered(search, started, deadline - started, tie_order(tie_break))
        if not answer.found:
            return tuple(answers), "no more" if answer.status == "infeasible" else "time"
        answers.append(answer)
        if answer.status != "optimal":
            return tuple(answers), "enough" if len(answers) == k else "time"
        path = _numbers(problem, frozenset(answer.arcs))
        search.forbid(path) if distinct == 1 else search.differ(path, distinct)
    return tuple(answers), "enough"


def cheapest(
    problem: Problem,
    resource: str,
    *,
    time_limit_s: float = 60,
    seed: int = 0,
    workers: int = 1,
) -> Assembly:
    """The path that costs least of `resource`, its own limit left aside.

    All other limits and counts hold. Its `objective` is that cost, so that a message can say "the
    fastest possible is ...".

    Raises:
        UnknownNameError: No arc costs, and no limit bounds, such a resource.
    """
    if resource not in problem.resources:
        raise UnknownNameError("resource", resource, problem.resources)
    relaxed = replace(
        problem,
        sense="minimize",
        arcs=tuple([replace(arc, score=arc.cost(resource)) for arc in problem.arcs]),
        limits=tuple((name, limit) for name, limit in problem.limits if name != resource),
    )
    return assemble(relaxed, time_limit_s=time_limit_s, seed=seed, workers=workers, tie_break=None)


def check_effort(time_limit_s: float, seed: int, workers: int) -> None:
    """Refuse effort that makes no sense."""
    if not (math.isfinite(time_limit_s) and time_limit_s > 0):
        raise UsageError(f"The time limit is {time_limit_s} s. Give a positive number of seconds.")
    if workers < 1:
        raise UsageError(f"Asked for {workers} solver threads. Ask for 1 or more.")
    if not 0 <= seed < 2**31:
        raise UsageError(f"The seed is {seed}. Give a whole number from 0 to {2**31 - 1}.")


def _numbers(problem: Problem, arcs: frozenset[str]) -> frozenset[int]:
    found = frozenset(index for index, arc in enumerate(problem.arcs) if arc.id in arcs)
    if len(found) < len(arcs):
        unknown = min(arcs - {arc.id for arc in problem.arcs})
        raise UsageError(
            f"Asked to forbid the arc '{unknown}', but no arc has this id. "
            "Give the arcs of an earlier answer to the same problem."
        )
    return found


def tie_order(tie_break: str | None) -> tuple[str, ...]:
    """The resources that break ties."""
    return () if tie_break is None else (tie_break,)


def answered(search: Search, started: float, seconds: float, ties: Sequence[str]) -> Assembly:
    """The search's next answer in the problem's own numbers; `seconds` count from `started`."""
    program = search.program
    answer = search.best(seconds - (time.monotonic() - started), ties)
    objective = None if answer.path is None else program.objective(answer.path)
    bound = _bound(program, answer, objective)
    path = answer.path or ()
    resources = program.resources if path else ()
    return Assembly(
        status=_status(answer),
        arcs=tuple(program.problem.arcs[arc].id for arc in path),
        objective=objective,
        bound=bound,
        gap=None if objective is None or bound is None else relative_gap(objective, bound),
        costs=tuple((name, program.cost(path, name)) for name in resources),
        wall_s=time.monotonic() - started,
        solver=solver_name(),
        seed=search.seed,
    )


def _status(answer: Answer) -> Status:
    if answer.path is None:
        return "infeasible" if answer.proven else "unknown"
    return "optimal" if answer.proven else "feasible"


def _bound(program: PathProgram, answer: Answer, objective: float | None) -> float | None:
    if answer.proven or answer.bound is None:
        return objective if answer.proven else None
    bound = program.bound(answer.bound)
    if objective is None:
        return bound
    return max(bound, objective) if program.problem.sense == "maximize" else min(bound, objective)


def relative_gap(objective: float, bound: float) -> float:
    """How far a bound is from an objective, relative to the larger of the two; 0 where both are."""
    largest = max(abs(objective), abs(bound))
    return abs(bound - objective) / largest if largest else 0.0
