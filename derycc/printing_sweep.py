"""Printing of sweeps: for every budget what was predicted, measured and proven."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.table import Table

from compiler.ranks import spearman
from compiler.scores import QUALITY, Choice
from derycc.building import Built
from derycc.console import milliseconds, percent, table
from derycc.dery import finite
from derycc.loop_words import certificate_cell
from derycc.printing import candidate_data, score_name
from derycc.printing_choice import correlation_line
from derycc.sweeping import Point
from profilers.measurement import Measurement

COLUMNS = (
    ">budget",
    ">predicted (upper)",
    ">measured (upper)",
    "kept",
    ">expected",
    ">{kind} calibration",
    ">held out",
    "best donor within (held out)",
    "certificate",
)


def sweep_table(points: Sequence[dict[str, Any]]) -> Table:
    """One line a budget, from what `point_data` says."""
    built = [point for point in points if "refusal" not in point]
    kind = score_name(built[0]["calibration"]["top1"]) if built else "top-1"
    columns = [column.format(kind=kind) for column in COLUMNS]
    there = list(built[0].get("elsewhere", ())) if built else []
    columns[3:3] = [f">measured on {target} (upper)" for target in there]
    rows = [_row(point, there) for point in points]
    return table("Best measured network for each budget", columns, rows)


def _row(point: dict[str, Any], there: Sequence[str]) -> tuple[str, ...]:
    donor = point["best_donor"]
    alone = "none" if donor is None else f"{donor['name']} ({percent(donor['held_out'])})"
    if "refusal" in point:
        said = f"none: exit code {point['exit_code']}"
        return (point["budget"], *("-",) * (6 + len(there)), alone, said)
    upper_us, held_out = point["interval_us"][1], point["held_out"]
    return (
        point["budget"],
        _latency(point["predicted_us"], point["predicted_upper_us"]),
        _latency(point["median_us"], upper_us),
        *(_latency(**point["elsewhere"][target]) for target in there),
        "yes" if point["within_budget"] else "NO",
        percent(point["expected"]),
        percent(point.get("quality", score_of(point["calibration"]))),
        percent(score_of(held_out)),
        alone,
        point["certificate_text"],
    )


def built_lines(points: Sequence[dict[str, Any]]) -> list[str]:
    """Which network was built for which budgets, a paragraph each; a table has no room for them."""
    budgets: dict[str, list[str]] = {}
    for point in points:
        if "refusal" not in point:
            budgets.setdefault(point["name"], []).append(point["budget"])
    return [f"{', '.join(texts)}: {name}" for name, texts in budgets.items()]


def summary(points: Sequence[dict[str, Any]]) -> str:
    """How many budgets are kept, what stitching gains, and what is proven."""
    built = [point for point in points if "refusal" not in point]
    kept = sum(point["within_budget"] for point in built)
    refused = Counter(point["exit_code"] for point in points if "refusal" in point)
    codes = "".join(f", {count} refused with exit code {code}" for code, count in refused.items())
    lines = f"{kept} of {len(points)} budgets kept by what was built and measured{codes}."
    gains = [
        100 * (score_of(point["held_out"]) - point["best_donor"]["held_out"])
        for point in built
        if point["best_donor"] is not None
    ]
    if gains:
        better = sum(gain > 0 for gain in gains)
        worse = sum(gain < 0 for gain in gains)
        lines += (
            f" Beside the best donor within the budget, on held-out photographs: better at "
            f"{better}, worse at {worse} of {len(gains)} budgets, median {median(gains):+.1f} "
            "points."
        )
    proven = Counter(point["certificate"]["holds"] for point in built)
    said = ", ".join(f"{name}: {count}" for name, count in proven.items())
    return f"{lines} Certificates: {said or 'none'}."


def score_lines(score: str, points: Sequence[Point]) -> list[str]:
    """What networks were chosen by, if not by quality, and how it orders all that were measured."""
    said = [] if score == QUALITY else [f"Networks were chosen by {score}."]
    correlation = score_correlation(points)
    return said if correlation is None else [*said, correlation_line(score, correlation)]


def score_correlation(points: Sequence[Point]) -> float | None:
    """Spearman's, of score, or expectation, and measured quality, over a sweep's networks."""
    trials = {t.candidate.blueprint: t for p in points if p.built for t in p.built.trials}
    said = [one.expected if one.score is None else one.score for one in trials.values()]
    return spearman(said, [one.quality for one in trials.values()])


def _latency(median_us: float, upper_us: float) -> str:
    return f"{milliseconds(median_us)} ({upper_us / 1000:.2f})"


def _there(measured: Measurement) -> dict[str, float]:
    """A latency on another target."""
    return {"median_us": measured.median_us, "upper_us": measured.upper_us}


def score_of(judged: dict[str, Any]) -> float:
    """Of a quality as plain data: top-1, or agreement where there are no labels."""
    top1 = judged["top1"]
    return float(judged["agreement"] if top1 is None else top1)


def point_lines(points: Sequence[Point]) -> list[str]:
    """What a table has no room for: why there is no network, and why one should not be used."""
    return [
        line
        for point in points
        for line in (
            *([f"{point.budget}: {point.refusal}"] if point.refusal else []),
            *(f"Warning: {point.budget}: {text}" for text in point.warnings),
        )
    ]


def point_data(point: Point) -> dict[str, Any]:
    """One budget of a sweep for `--json`."""
    donor = point.best_donor
    alone = None
    if donor is not None:
        alone = {
            "name": donor.blueprint.segments[0].model,
            "median_us": donor.latency.median_us,
            "upper_us": donor.latency.upper_us,
            "calibration": donor.judged.calibration.score,
            "held_out": donor.judged.held_out.score,
        }
    built: Built | None = point.built
    if built is None:
        return {
            "budget": point.budget,
            "refusal": point.refusal,
            "exit_code": point.exit_code,
            "best_donor": alone,
        }
    elsewhere = built.candidate.elsewhere
    return {
        "budget": point.budget,
        "budget_us": built.budget_us,
        "predicted_us": built.trial.predicted.median_us,
        "predicted_upper_us": built.trial.predicted.upper_us,
        "expected": built.trial.expected,
        "quality": built.trial.quality,
        "within_budget": built.kept,
        "status": built.trial.assembly.status,
        "candidates": len(built.trials),
        "choice": None if built.choice is None else _choice(built.choice),
        "best_donor": alone,
        "certificate": asdict(built.certificate),
        "certificate_text": certificate_cell(built.certificate),
        "elsewhere": {target: _there(measured) for target, measured in elsewhere},
        "warnings": list(point.warnings),
        "name": str(built.candidate.blueprint),
        **candidate_data(built.candidate),
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {**asdict(choice), "value": finite(choice.value)}
