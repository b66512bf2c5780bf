"""Solving a problem file: limits from the command line, answers, and why there is none."""

import json
import math
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from compiler.assembly import Assembly, Ended, assemble, best_few
from compiler.problem import Problem
from compiler.shortfall import Shortfall, has_path, shortfalls
from derycc.problem_checks import check_ends, check_limits, costed, impossible_counts
from targets.errors import (
    DeryccError,
    InfeasibleError,
    UndecidedError,
    UnknownNameError,
    UsageError,
)

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


@dataclass(frozen=True, slots=True)
class Solved:
    """What came of a problem.

    Attributes:
        answers: the best first; where there is none, the one answer that says so.
        ended: why no more answers follow.
        shortfalls: of an infeasible problem, the least possible of every limited resource.
        fault: why there is no path; None: there is one.
    """

    answers: tuple[Assembly, ...]
    ended: Ended = "enough"
    shortfalls: tuple[Shortfall, ...] = ()
    fault: DeryccError | None = None


def read_problem(request: SolveRequest) -> Problem:
    """The file's problem under the limits that were asked for.

    Raises:
        UsageError: the file, a limit or another option is not usable.
    """
    if request.distinct > 1 and request.k == 1:
        raise UsageError(
            f"--distinct {request.distinct} says how far several answers differ, and one is asked "
            "for. Add --k N with N of 2 or more, or leave --distinct out."
        )
    problem = Problem.load(request.file)
    try:
        check_limits(problem)
        check_ends(problem)
    except UsageError as error:
        raise UsageError(f"The problem file '{request.file}' is not usable: {error}") from error
    limits, given, known = dict(problem.limits), set[str](), costed(problem)
    for text in request.limits:
        name, amount = _limit(text, known)
        if name in given:
            raise UsageError(f"--limit bounds '{name}' twice. Give it once.")
        given.add(name)
        limits[name] = amount
    return replace(problem, limits=tuple(limits.items()))


def solve_problem(problem: Problem, request: SolveRequest) -> Solved:
    """The answers, the best first, or why there is none.

    The fault is an InfeasibleError where no path is allowed, which says the least possible of every
    limited resource, and an UndecidedError where time ran out before any path was found.
    """
    with told_after(PATIENCE_S, f"Still searching, for up to {request.time_limit_s:g} s ..."):
        answers, ended = _best(problem, request)
        if answers[0].status == "infeasible":
            why, found = _infeasible(problem, request)
            return Solved(answers, ended, found, InfeasibleError(why))
    if answers[0].status == "unknown":
        return Solved(answers, ended, fault=UndecidedError(_no_time(request)))
    return Solved(answers, ended)


def _no_time(request: SolveRequest) -> str:
    return (
        f"In {request.time_limit_s:g} s no path that keeps all limits was found, and none was "
        "excluded. Give a longer --time-limit, or looser limits."
    )


def _best(problem: Problem, request: SolveRequest) -> tuple[tuple[Assembly, ...], Ended]:
    """The best few and why no more follow; where there are none, the answer that says why."""
    seconds, seed, workers = request.time_limit_s, request.seed, request.workers
    found: tuple[Assembly, ...] = ()
    ended: Ended = "enough"
    if request.k > 1:
        found, ended = best_few(
            problem,
            request.k,
            distinct=request.distinct,
            time_limit_s=seconds,
            seed=seed,
            workers=workers,
        )
    if found:
        return found, ended
    return (assemble(problem, time_limit_s=seconds, seed=seed, workers=workers),), ended


def solved_json(solved: Solved, request: SolveRequest) -> str:
    """What `--json` prints: the answer itself, or with `--k` all of them; also if there is none."""
    first, fault = solved.answers[0], solved.fault
    content: dict[str, Any] = first.content()
    if request.k > 1:
        answers = [] if fault else [each.content() for each in solved.answers]
        content = {"format": FORMAT, "k": request.k, "distinct": request.distinct}
        content |= {"status": first.status, "ended": solved.ended, "answers": answers}
    if fault is not None:
        content |= {"message": str(fault), "shortfalls": [asdict(s) for s in solved.shortfalls]}
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def fewer_lines(solved: Solved, request: SolveRequest) -> list[str]:
    """Why there are fewer answers than were asked for, if there are."""
    count = len(solved.answers)
    if count >= request.k:
        return []
    if solved.ended == "time":
        return [f"Time ran out after {count} of {request.k}. Give a longer --time-limit."]
    apart = (
        f" with so many new arcs (--distinct {request.distinct})" if request.distinct > 1 else ""
    )
    return [
        f"There {'is' if count == 1 else 'are'} only {count} such "
        f"path{'' if count == 1 else 's'}{apart}: proven."
    ]


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


def _infeasible(problem: Problem, request: SolveRequest) -> tuple[str, tuple[Shortfall, ...]]:
    """Which limits are too low, and how far each would have to be relaxed."""
    ends = f"from '{problem.source}' to '{problem.sink}'"
    seconds, seed, workers = request.time_limit_s, request.seed, request.workers
    possible = has_path(problem, time_limit_s=seconds, seed=seed, workers=workers)
    if not problem.limits or not possible:
        return _no_path(problem, ends), ()
    found = shortfalls(problem, time_limit_s=seconds, seed=seed, workers=workers)
    told = " ".join(_told(each) for each in found)
    enough = [
        f"{each.resource} to {number_text(each.beside)}"
        for each in found
        if each.beside is not None and each.beside > each.limit
    ]
    never = all(each.beside_is_proven for each in found)
    otherwise = (
        "more than one limit" if never else "one limit or several, or allow more --time-limit"
    )
    advice = " or ".join(enough) if enough else otherwise
    return f"No path {ends} keeps all limits. {told} Relax {advice}.", found


def _no_path(problem: Problem, ends: str) -> str:
    """Why there is no path even without limits."""
    if wrong := impossible_counts(problem):
        return f"There is no path {ends} that keeps the counts: {'; '.join(wrong)}. Correct that."
    if problem.counts:
        return (
            f"There is no path {ends} that keeps the counts, whatever the limits. "
            "Add arcs, or relax counts."
        )
    return f"There is no path {ends}, whatever the limits. Add arcs."


def _told(each: Shortfall) -> str:
    said = f"{each.resource}: limit {number_text(each.limit)}"
    if each.least is None:
        return f"{said}, least possible unknown."
    least = f"{said}, least possible {_at_most(each.least, each.least_is_proven)}"
    if each.beside is None:
        if not each.beside_is_proven:
            return f"{least}, beside the other limits unknown."
        return f"{least}, but never beside the other limits."
    if each.beside > each.least:
        return f"{least}, beside the other limits {_at_most(each.beside, each.beside_is_proven)}."
    return f"{least}."


def _at_most(number: float, is_proven: bool) -> str:
    return number_text(number) if is_proven else f"at most {number_text(number)}"
