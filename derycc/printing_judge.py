"""Printing of judged stitches: what each cost, and how well that is predicted."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from compiler.drop_accuracy import LEAST, Accuracy
from compiler.drop_model import DropModel
from derycc.console import percent, table
from derycc.judging import JudgedDrop, JudgedZoo
from derycc.session import usual_error

WAYS = {
    "model": "drop model",
    "constant": "the same for every stitch",
    "residual": "in proportion to 1 - R2",
    "similarity": "in proportion to 1 - similarity",
}


def drops_table(found: JudgedZoo) -> Table:
    """One line a network."""
    columns = (
        "network",
        ">R2",
        ">similarity",
        ">stride",
        f">{found.score} promised",
        ">measured",
        ">drop",
        ">predicted",
    )
    rows = [_drop(drop) for drop in found.drops]
    return table("Networks of one stitch, really judged", columns, rows)


def accuracy_table(found: JudgedZoo) -> Table:
    """One line a way of predicting drops."""
    columns = ("a stitch's drop is predicted", ">rank correlation", ">mean absolute error")
    rows = [_accuracy(accuracy) for accuracy in found.accuracies]
    return table("Fitted to one half of the networks, tried on the other", columns, rows)


def judge_lines(found: JudgedZoo) -> list[str]:
    """What the reader should know."""
    lines = [_model(found.model)]
    if not found.accuracies:
        lines.append(
            f"Too few networks to hold half of them out: judge at least {LEAST} to see how well "
            "drops are predicted."
        )
    error = usual_error(found.photographs)
    lines.append(
        f"Each network was judged by {found.photographs} photographs: its drop has a standard "
        f"error of about {error:.0f} points. More photographs (--data) make it smaller."
    )
    lines.append("Builds, sweeps and fronts of this home start from these drops by themselves.")
    return lines


def judge_data(found: JudgedZoo) -> dict[str, Any]:
    """For `--json`."""
    return {
        "networks": [{**asdict(drop), "drop": drop.drop} for drop in found.drops],
        "held_out": [asdict(accuracy) for accuracy in found.accuracies],
        "model": asdict(found.model),
        "photographs": found.photographs,
        "score": found.score,
    }


def _drop(one: JudgedDrop) -> tuple[str, ...]:
    stitch = one.stitch
    return (
        str(one.network),
        f"{1 - stitch.unexplained:.3f}",
        f"{1 - stitch.dissimilar:.3f}",
        "2" if stitch.strided else "1",
        percent(one.promised),
        percent(one.measured),
        _points(one.drop),
        "-" if one.predicted is None else _points(one.predicted),
    )


def _accuracy(accuracy: Accuracy) -> tuple[str, ...]:
    correlation = accuracy.correlation
    return (
        WAYS[accuracy.name],
        "-" if correlation is None else f"{correlation:+.2f}",
        f"{100 * accuracy.error:.1f} points",
    )


def _model(model: DropModel) -> str:
    seen = f"The drop model is fitted to {model.observations} networks judged in this home"
    if model.error is None:
        return f"{seen}."
    return (
        f"{seen}; each of them, left out of the fit, is predicted to {100 * model.error:.1f} "
        "points on average."
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
