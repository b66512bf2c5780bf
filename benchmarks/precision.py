"""What does int8 buy? The best network for a row of budgets, in fp32 and with int8 where it pays.

Budgets evenly in ratio, from below the fastest donor of the demo zoo to the slowest. For each a
network is searched for, built, measured and verified, once in fp32 and once by `--precision auto`:
predicted beside measured latency, quality on held-out photographs, least cosine to the network's
own float form, score that int8 costs, and the share of its work that integer kernels do. Writes one
JSON file under `benchmarks/results/`, with the machine and the versions.

    python benchmarks/precision.py [--points 6] [--candidates 4] [--max-drop 1%] [--home HOME]
    python benchmarks/precision.py --prepare     profiles and judges alone, so that a run is short
    python benchmarks/precision.py --show        prints the committed result again
    python benchmarks/precision.py --smoke       one budget, one candidate; writes nothing
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backends.kernels import executed, integer_share
from benchmarks.machine import machine
from benchmarks.result_files import shown, write
from compiler.candidates import Candidate
from compiler.workbench import Workbench
from derycc.building import Built, Request
from derycc.console import Bars, milliseconds, percent, stdout, table
from derycc.options import default_home
from derycc.session import Options, caution, open_workbench
from derycc.sweeping import Point, donors_alone, sweep
from targets.budget import parse_drop
from targets.target import get_target

TARGET = "cpu:threads=1"
SIZE = 224
FASTEST_SHARE = 0.6
"""The least budget, as a share of the fastest donor's latency."""

COLUMNS = (
    *("budget", "precision", ">predicted", ">measured (upper end)", ">held out", ">cosine"),
    *(">points lost to int8", ">in integers", ">built"),
)


def main() -> None:
    """Build for every budget in both precisions, print the table, and write the result file."""
    asked = _arguments()
    if asked.show:
        _print(shown("precision"))
        return
    if asked.prepare:
        with open_workbench(_options(asked, "auto"), Bars()) as bench:
            _ = bench.space
        return
    points, candidates = (1, 1) if asked.smoke else (asked.points, asked.candidates)
    found = _measure(asked, points, candidates)
    _print(found)
    if not asked.smoke:
        write("precision", found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=default_home())
    parser.add_argument("--points", type=int, default=6)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--max-drop", default="1%")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--show", action="store_true")
    return parser.parse_args()


def _options(asked: argparse.Namespace, precision: str) -> Options:
    drop = parse_drop(asked.max_drop)
    return Options(asked.home, TARGET, sizes=(SIZE,), precision=precision, max_drop=drop)


def _measure(asked: argparse.Namespace, points: int, candidates: int) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for precision in ("fp32", "auto"):
        with open_workbench(_options(asked, precision), Bars()) as bench:
            alone = donors_alone(bench)
            budgets = _budgets(alone, points)
            found = sweep(bench, Request(None, candidates=candidates), budgets, alone)
            rows += [_row(point, precision, bench) for point in found]
            said = caution(bench.photographs)
            offers = bench.int8_offers
    assert offers is not None, "the last run was asked for int8 where it pays"
    return {
        "machine": machine(get_target(TARGET)),
        "size": SIZE,
        "candidates": candidates,
        "max_drop": parse_drop(asked.max_drop),
        "offers": {
            "blocks": offers.considered,
            "offered": len(offers.blocks),
            "slower": offers.slower,
            "drop_per_error": offers.drop_per_error,
            "latency_factor": offers.latency,
        },
        "caution": said,
        "donors": {str(one.blueprint): one.latency.median_us for one in alone},
        "rows": rows,
    }


def _budgets(alone: Sequence[Candidate], points: int) -> tuple[str, ...]:
    """Evenly in ratio; the slowest donor's upper end is the last."""
    least = FASTEST_SHARE * alone[0].latency.median_us
    most = max(one.latency.upper_us for one in alone)
    steps = [step / max(1, points - 1) for step in range(points)]
    return tuple(f"{least * (most / least) ** step:.0f}us" for step in steps)


def _row(point: Point, precision: str, bench: Workbench) -> dict[str, Any]:
    row: dict[str, Any] = {"budget": point.budget, "precision": precision}
    if point.built is None:
        return {**row, "refusal": point.refusal, "exit_code": point.exit_code}
    return {**row, **_network(point.built, bench)}


def _network(built: Built, bench: Workbench) -> dict[str, Any]:
    candidate = built.candidate
    judged, latency = candidate.judged, candidate.latency
    return {
        "network": str(candidate.blueprint),
        "predicted_us": built.trial.predicted.median_us,
        "predicted_upper_us": built.trial.predicted.upper_us,
        "measured_us": latency.median_us,
        "measured_upper_us": latency.upper_us,
        "noisy": latency.noisy,
        "calibration": judged.score,
        "held_out": judged.held_out.score,
        "cosine": built.verification.cosine,
        "gate": built.verification.gate,
        "drop": None if judged.int8 is None else judged.int8.drop,
        "integer": integer_share(executed(candidate.model, bench.target)),
        "tried": len(built.trials),
        "withdrawn": sum(not trial.within for trial in built.trials),
        "certificate": built.certificate.holds,
    }


def _print(found: dict[str, Any]) -> None:
    offers = found["offers"]
    print(
        f"{offers['offered']} of {offers['blocks']} blocks were offered in int8; "
        f"{offers['slower']} are slower there."
    )
    rows = sorted(found["rows"], key=lambda row: float(row["budget"].removesuffix("us")))
    stdout().print(table("fp32 and auto", COLUMNS, [_cells(row) for row in rows]))
    if found["caution"]:
        print(f"Note: {found['caution']}")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    budget = milliseconds(float(row["budget"].removesuffix("us")))
    if "refusal" in row:
        return (budget, row["precision"], *("-",) * 6, f"none (exit {row['exit_code']})")
    return (
        budget,
        row["precision"],
        milliseconds(row["predicted_us"]),
        f"{milliseconds(row['measured_us'])} ({milliseconds(row['measured_upper_us'])})"
        + "*" * row["noisy"],
        percent(row["held_out"]),
        f"{row['cosine']:.4f}",
        "-" if row["drop"] is None else f"{100 * row['drop']:.1f}",
        percent(row["integer"]),
        f"{row['tried']}",
    )


if __name__ == "__main__":
    main()
