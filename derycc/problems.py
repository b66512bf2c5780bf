"""Problems: what the solver was given, as a file that anyone can solve again."""

import os
from pathlib import Path

from compiler.belief import Belief
from compiler.believed import Believed
from compiler.dery_space import DerySpace
from compiler.problem import Problem
from compiler.scored_search import SimilaritySpace
from compiler.scores import QUALITY, SIMILARITY
from compiler.workbench import Workbench
from derycc.building import Built, Request, build, limits
from derycc.dery import build_dery
from derycc.writable import obstacle
from targets.budget import Budget
from targets.errors import WorkspaceError


def solved(request: Request, bench: Workbench, out: Path | None) -> tuple[Built, Workbench]:
    """A build, and the workbench it was done on; what was solved goes to a file, if one is named.

    The file is there even if nothing is within the limits: then with what was asked at first.

    Raises:
        InfeasibleError, UndecidedError, BudgetMissedError, VerificationError: as `build` and
            `build_dery`.
        WorkspaceError: the file cannot be written.
    """
    if request.dery is not None:
        built, used = build_dery(request, request.dery, bench)
    else:
        belief = bench.belief()
        if out is not None:
            asked = problem_of(bench.space, belief.now, limits(request, bench), request.score)
            write_problem(out, asked)
        built, used = build(request, bench, belief), bench
    if out is not None:
        write_problem(out, built_problem(built, used))
    return built, used


def built_problem(built: Built, bench: Workbench) -> Problem:
    """The problem whose answer was built, but for the networks that had been tried before."""
    dery = built.dery
    space = bench.space if dery is None else DerySpace(bench.space, dery.partition)
    believed = built.trial.believed
    assert believed is not None, "the loop notes what it believes"
    score = dery.settings.score if dery else built.choice.score if built.choice else QUALITY
    return problem_of(space, believed, built.limits, score)


def problem_of(
    space: SimilaritySpace, believed: Believed, budget: Budget, score: str = QUALITY
) -> Problem:
    """The problem as it was believed when a network was chosen."""
    tight = Belief(believed.drops, excess=dict(believed.excess)).tightened(budget)
    if score == SIMILARITY:
        return space.by_similarity(tight, believed)
    return space.problem(tight, believed)


def check_problem_file(path: Path) -> None:
    """Refuse a file that cannot be written, before anything takes time.

    Raises:
        WorkspaceError: it is a folder, or there is no folder for it and none can be made.
    """
    if not os.access(path, os.F_OK):  # which says no of a name that no file can have
        why = obstacle(path)
    elif path.is_dir():
        why = "it is a folder"
    else:
        why = None if os.access(path, os.W_OK) else "it is read-only"
    if why is not None:
        raise WorkspaceError(_unwritten(path, why))


def _unwritten(path: Path, why: str | None) -> str:
    return f"Cannot write the problem to {path}: {why}. Name another file with --problem-out."


def write_problem(path: Path, problem: Problem) -> None:
    """Write a problem file.

    Raises:
        WorkspaceError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(problem.to_json(), encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(_unwritten(path, error.strerror)) from error
