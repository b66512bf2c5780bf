"""Printing: the solver's answers as a table and as lines."""

from collections.abc import Sequence

from rich.table import Table

from compiler.assembly import Assembly
from compiler.problem import Problem
from derycc.console import table
from derycc.solving import number_text


def answer_lines(answer: Assembly) -> list[str]:
    """What is proven of an answer, and its path."""
    steps = len(answer.arcs)
    return [
        f"status    {answer.status}",
        f"objective {_number(answer.objective)}",
        f"bound     {_number(answer.bound)}",
        f"gap       {'-' if answer.gap is None else f'{100 * answer.gap:.4g} %'}",
        f"path      {steps} arc{'' if steps == 1 else 's'}:",
        *(f"  {arc}" for arc in answer.arcs),
        f"solved in {answer.wall_s:.2f} s by {answer.solver}, seed {answer.seed}",
    ]


def cost_table(problem: Problem, answer: Assembly) -> Table:
    """What the path costs, beside the limits."""
    limits = dict(problem.limits)
    rows = [
        (name, number_text(cost), *_against(cost, limits.get(name))) for name, cost in answer.costs
    ]
    return table("Costs", ("resource", ">cost", ">limit", ">slack"), rows)


def ranking_table(answers: Sequence[Assembly]) -> Table:
    """Several answers, the best first."""
    names = [name for name, _ in answers[0].costs]
    rows = [
        (
            str(rank),
            answer.status,
            _number(answer.objective),
            str(_new_arcs(answer, answers[: rank - 1])),
            *(number_text(answer.cost(name)) for name in names),
        )
        for rank, answer in enumerate(answers, 1)
    ]
    columns = (">rank", "status", ">objective", ">new arcs", *(f">{name}" for name in names))
    return table("The best, in order", columns, rows)


def path_lines(answers: Sequence[Assembly]) -> list[str]:
    """The path of every answer."""
    return [f"{rank}: {' '.join(answer.arcs)}" for rank, answer in enumerate(answers, 1)]


def _new_arcs(answer: Assembly, earlier: Sequence[Assembly]) -> int:
    """The fewest arcs by which it differs from any earlier answer; all, if there is none."""
    own = set(answer.arcs)
    return min((len(own - set(each.arcs)) for each in earlier), default=len(own))


def _against(cost: float, limit: float | None) -> tuple[str, str]:
    if limit is None:
        return "-", "-"
    share = f" ({100 * (limit - cost) / limit:.1f} %)" if limit else ""
    return number_text(limit), f"{limit - cost:.6g}{share}"


def _number(number: float | None) -> str:
    return "-" if number is None else number_text(number)
