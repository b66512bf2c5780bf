"""Printing what a network was chosen by: the score, how far it is proven, and what it is worth."""

from derycc.console import percent
from derycc.manifest import Solver
from derycc.manifest_asked import Choice
from derycc.manifest_dery import Dery

Chosen = Choice | Dery
"""What a manifest says of a choice by a score, in any mode."""


def choice_lines(chosen: Chosen, solver: Solver, networks: str = "networks") -> list[str]:
    """How the network was chosen of `networks`, and how its score orders those that were tried."""
    lines = [_choice(chosen, solver, networks)]
    if chosen.correlation is not None:
        lines.append(correlation_line(chosen.score, chosen.correlation))
    return lines


def correlation_line(score: str, correlation: float) -> str:
    """What a score is worth, as far as the networks tell that were measured."""
    name = "expected" if score == "quality" else score
    return (
        f"Rank correlation of {name} with measured quality over the networks tried: "
        f"{correlation:+.2f}."
    )


def _choice(chosen: Chosen, solver: Solver, networks: str) -> str:
    rest = f" but the {solver.already_tried} tried before it" if solver.already_tried else ""
    if chosen.score == "quality":
        worth = f"expected quality {percent(solver.objective)}"
    else:
        worth = f"{chosen.score} {'-inf' if chosen.value is None else f'{chosen.value:.6g}'}"
    if chosen.enumerated is None:
        kind = f"of all {networks}{rest}"
        return f"Solver: {'proven best' if chosen.proven else solver.status} {kind}, {worth}."
    which = (
        "all there are within the budgets" if chosen.complete else "those of highest expectation"
    )
    return (
        f"Scored by {chosen.score}: {chosen.enumerated} {networks}, {which}; the "
        f"best that keeps the budget has {worth}."
    )
