"""`derycc solve`: a problem file, its best paths, and the proof that they are the best."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.options import AsJson, frame

if TYPE_CHECKING:
    from derycc.solving import SolveRequest

File = Annotated[Path, typer.Argument(help="Problem: a derycc.problem/1 file.", metavar="FILE")]
Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        help="RESOURCE=NUMBER, such as latency_us=9000; replaces the file's. May be repeated.",
        show_default=False,
    ),
]
Count = Annotated[int, typer.Option("--k", help="So many answers, the best first.", min=1)]
Distinct = Annotated[
    int,
    typer.Option(
        "--distinct",
        help="With --k: every answer has at least so many arcs that are not in the first, as many "
        "that are not in the second, and so on; each is the best of those that do.",
        min=1,
    ),
]
Seconds = Annotated[
    float,
    typer.Option(
        "--time-limit",
        help="Seconds for all answers; an integer program's are counted by its work. Reading the "
        "file and bounding its arcs comes on top.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the search.", min=0)]
Workers = Annotated[
    int, typer.Option("--workers", help="Threads; they do not change the answer.", min=1)
]


def solve(
    file: File,
    limit: Limits = None,
    k: Count = 1,
    distinct: Distinct = 1,
    time_limit: Seconds = 60.0,
    seed: Seed = 0,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Solves a problem file: the best path within all limits, proven."""
    from derycc.solving import SolveRequest

    with frame():
        request = SolveRequest(file, tuple(limit or ()), k, distinct, time_limit, seed, workers)
        _solve(request, as_json)


def _solve(request: "SolveRequest", as_json: bool) -> None:
    from derycc.console import stdout
    from derycc.printing_solve import answer_lines, cost_table, path_lines, ranking_table
    from derycc.solving import fewer_lines, read_problem, solve_problem, solved_json

    problem = read_problem(request)
    solved = solve_problem(problem, request)
    answers = solved.answers
    if as_json:
        typer.echo(solved_json(solved, request), nl=False)
    if solved.fault is not None:
        raise solved.fault
    if as_json:
        return
    if request.k == 1:
        typer.echo("\n".join(answer_lines(answers[0])))
        stdout().print(cost_table(problem, answers[0]))
    else:
        stdout().print(ranking_table(answers))
        typer.echo("\n".join([*path_lines(answers), *fewer_lines(solved, request)]))
