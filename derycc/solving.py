"""Solving a problem file: limits from the command line, answers, and why there is none."""

import json
import math
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compiler.assembly import Assembly, assemble, k_best
from compiler.problem import Problem
from compiler.shortfall import Shortfall, has_path, shortfalls
from targets.errors import InfeasibleError, UnknownNameError, UsageError

FORMAT = "derycc.assemblies/1"

PATIENCE_S = 3.0
"""Seconds without a word."""


@dataclass(frozen=True, slots=True)
class SolveRequest:
    """What is asked of the solver.

    Attributes:
        file: the problem.
        limits: texts such as `latency_us=9000`, which replace the file's.
        k: so many answers, the best first.
        distinct: arcs of an answer that are not in each earlier one.
        time_limit_s: for all answers.
        seed: of the search.
        workers: threads.
    """

    file: Path
    limits: tuple[str, ...] = ()
    k: int = 1
    distinct: int = 1
    time_limit_s: float = 60.0
    seed: int = 0
    workers: int = 1


def read_problem(request: SolveRequest) -> Problem:
    """The file's problem under the limits that were asked for.

    Raises:
        UsageError: the file or a limit is not usable.
    """
    problem = Problem.load(request.file)
    limits = dict(problem.limits)
    for text in request.limits:
        name, amount = _limit(text, problem.resources)
        limits[name] = amount
    return replace(problem, limits=tuple(limits.items()))


def solve_problem(problem: Problem, request: SolveRequest) -> tuple[Assembly, ...]:
    """The answers, the best first; one at least.

    Raises:
        InfeasibleError: no path is allowed; says the least possible of every limited resource.
        UsageError: time ran out before any path was found.
    """
    with told_after(PATIENCE_S, f"Still searching, for up to {request.time_limit_s:g} s ..."):
        answers = _best(problem, request)
        if answers[0].status == "infeasible":
            raise InfeasibleError(_infeasible(problem, request))
    if answers[0].status == "unknown":
        raise UsageError(
            f"In {request.time_limit_s:g} s no path that keeps all limits was found, and none was "
            "excluded. Give a longer --time-limit, or looser limits."
        )
    return answers


def _best(problem: Problem, request: SolveRequest) -> tuple[Assembly, ...]:
    """The best few; where there are none, the one answer that says why."""
    seconds, seed, workers = request.time_limit_s, request.seed, request.workers
    found: tuple[Assembly, ...] = ()
    if request.k > 1:
        found = k_best(
            problem,
            request.k,
            distinct=request.distinct,
            time_limit_s=seconds,
            seed=seed,
            workers=workers,
        )
    return found or (assemble(problem, time_limit_s=seconds, seed=seed, workers=workers),)


def answers_json(answers: Sequence[Assembly], request: SolveRequest) -> str:
    """What `--json` prints: the answer itself, or with `--k` all of them."""
    if request.k == 1:
        return answers[0].to_json()
    content: dict[str, Any] = {"format": FORMAT, "k": request.k, "distinct": request.distinct}
    content["answers"] = [each.content() for each in answers]
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


@contextmanager
def told_after(seconds: float, text: str) -> Iterator[None]:
    """Say something on stderr where what is inside takes longer."""
    timer = threading.Timer(seconds, lambda: print(text, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def number_text(number: float) -> str:
    """A number so that it reads back as the same, whole numbers without a point."""
    whole = number.is_integer() and abs(number) < 1e15
    return str(int(number)) if whole else repr(number)


def _limit(text: str, resources: Sequence[str]) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    if not equals or not name:
        raise UsageError(f"--limit '{text}' has no '='. Give RESOURCE=NUMBER: latency_us=9000.")
    if name not in resources:
        raise UnknownNameError("resource", name, resources)
    try:
        amount = float(number)
    except ValueError as error:
        raise UsageError(
            f"--limit '{text}': '{number}' is no number. Give RESOURCE=NUMBER: latency_us=9000."
        ) from error
    if not (math.isfinite(amount) and amount >= 0):
        raise UsageError(f"--limit '{text}': give a finite number that is not negative.")
    return name, amount


def _infeasible(problem: Problem, request: SolveRequest) -> str:
    """Which limits are too low, and how far each would have to be relaxed."""
    ends = f"from '{problem.source}' to '{problem.sink}'"
    seconds, seed, workers = request.time_limit_s, request.seed, request.workers
    possible = has_path(problem, time_limit_s=seconds, seed=seed, workers=workers)
    if not problem.limits or not possible:
        counts = " that keeps the counts" if problem.counts else ""
        return f"There is no path {ends}{counts}, whatever the limits. Add arcs, or relax counts."
    found = shortfalls(problem, time_limit_s=seconds, seed=seed, workers=workers)
    told = " ".join(_told(each) for each in found)
    enough = [
        f"{each.resource} to {number_text(each.beside)}"
        for each in found
        if each.beside is not None and each.beside > each.limit
    ]
    advice = " or ".join(enough) if enough else "more than one limit"
    return f"No path {ends} keeps all limits. {told} Relax {advice}."


def _told(each: Shortfall) -> str:
    said = f"{each.resource}: limit {number_text(each.limit)}"
    if each.least is None:
        return f"{said}, least possible unknown."
    least = f"{said}, least possible {number_text(each.least)}"
    if each.beside is None:
        return f"{least}, but never beside the other limits."
    if each.beside > each.least:
        return f"{least}, beside the other limits {number_text(each.beside)}."
    return f"{least}."
