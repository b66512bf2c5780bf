"""One network for two real targets beside the best for each: are budgets kept on both?

The demo zoo on one and on two threads of this machine, under budgets on both at once that count
from donors as they are measured on each. For every pair of budgets a common network is searched
for, built once, measured on both targets, and measured anew after the choice, as by `derycc build
--also`; beside it the best network for each target by itself, as by `--each`. Writes one JSON file
under `benchmarks/results/`, with the machine and the versions.

    python benchmarks/two_targets.py [--candidates 2] [--size 224] [--home HOME]
    python benchmarks/two_targets.py --show        prints the committed result again
    python benchmarks/two_targets.py --smoke       one pair of budgets; writes nothing

Stopped, it goes on where it was: what was built and measured is in the home folder.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.result_files import shown, write
from compiler.workbench import Workbench
from derycc.also import Also
from derycc.building import Built, Request, build
from derycc.console import Bars, milliseconds, percent, stdout, table
from derycc.options import default_home
from derycc.session import Options, caution, open_workbench
from targets.errors import REFUSALS
from targets.target import get_target

HERE, THERE = "cpu:threads=1", "cpu:threads=2"
FAST, GOOD = "mobilenetv2_100.tv_in1k", "tf_efficientnet_lite0.in1k"
BUDGETS = (
    (f"150% of {GOOD}", f"150% of {GOOD}"),
    (f"120% of {GOOD}", f"150% of {FAST}"),
    (f"90% of {FAST}", f"90% of {FAST}"),
)
"""On one thread, on two. The last pair is below every whole donor."""

Row = dict[str, Any]


def main() -> None:
    """Build for every pair of budgets, print the table, and write the result file."""
    asked = _arguments()
    if asked.show:
        _print(shown("two_targets"))
        return
    sizes, also = tuple(asked.size or (224,)), (THERE,)
    with open_workbench(Options(asked.home, HERE, sizes=sizes, also=also), Bars()) as bench:
        found = _measure(bench, BUDGETS[:1] if asked.smoke else BUDGETS, asked.candidates)
    _print(found)
    if not asked.smoke:
        write("two_targets", found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=default_home())
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--candidates", type=int, default=2)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--show", action="store_true")
    return parser.parse_args()


def _measure(bench: Workbench, budgets: tuple[tuple[str, str], ...], candidates: int) -> Row:
    rows = [row for pair in budgets for row in _pair(bench, *pair, candidates)]
    return {
        "machine": machine(get_target(HERE)),
        "targets": [str(one.target) for one in bench.everywhere],
        "sizes": list(bench.settings.sizes),
        "candidates": candidates,
        "images": bench.photographs.digest,
        "caution": caution(bench.photographs),
        "rows": rows,
        "summary": _summary(rows),
    }


def _pair(bench: Workbench, here: str, there: str, candidates: int) -> list[Row]:
    """The common network, and the one for each target by itself."""
    (other,) = bench.elsewhere
    request = Request(here, candidates=candidates, also=(Also(there, THERE),))
    asked = {"budgets": [here, there]}
    return [
        {**asked, "for": "both", **_built(request, bench)},
        {**asked, "for": str(bench.target), **_built(replace(request, also=()), bench.alone())},
        {**asked, "for": str(other.target), **_built(Request(there, candidates=candidates), other)},
    ]


def _built(request: Request, bench: Workbench) -> Row:
    try:
        built = build(request, bench)
    except REFUSALS as error:
        bench.progress.finish()
        return {"refusal": str(error), "exit_code": error.exit_code}
    return {
        "network": str(built.candidate.blueprint),
        "stitches": built.candidate.blueprint.stitches,
        "expected": built.trial.expected,
        "calibration": built.candidate.judged.score,
        "held_out": built.candidate.judged.held_out.score,
        "tried": len(built.trials),
        "certificate": built.certificate.holds,
        "on": _targets(built, str(bench.target)),
    }


def _targets(built: Built, here: str) -> list[Row]:
    """Budget, prediction and measurement on every target."""
    predicted = {here: built.trial.predicted, **dict(built.trial.elsewhere)}
    measured = {here: built.candidate.latency, **dict(built.candidate.elsewhere)}
    budgets = {here: built.budget_us, **dict(built.limits.elsewhere)}
    return [
        {
            "target": target,
            "budget_us": budgets[target],
            "predicted_us": predicted[target].median_us,
            "predicted_upper_us": predicted[target].upper_us,
            "measured_us": found.median_us,
            "measured_upper_us": found.upper_us,
            "noisy": found.noisy,
            "kept": found.upper_us <= (budgets[target] or 0.0),
        }
        for target, found in measured.items()
    ]


def _summary(rows: list[Row]) -> str:
    common = [row for row in rows if row["for"] == "both"]
    built = [row for row in common if "refusal" not in row]
    kept = sum(one["kept"] for row in built for one in row["on"])
    noisy = sum(one["noisy"] for row in built for one in row["on"])
    everywhere = sum(len(row["on"]) for row in built)
    refused = ", ".join(f"exit code {row['exit_code']}" for row in common if "refusal" in row)
    return (
        f"{len(built)} of {len(common)} pairs of budgets have a common network"
        f"{f' (the others: {refused})' if refused else ''}; {kept} of its {everywhere} budgets are "
        f"kept by measurement, {noisy} of these measurements are noisy."
    )


def _print(found: Row) -> None:
    columns = (
        "budgets on one and two threads",
        "for",
        ">predicted (upper)",
        ">measured (upper)",
        ">budget",
        "kept",
        ">calibration",
        ">held out",
        "network",
    )
    rows = [cells for row in found["rows"] for cells in _cells(row)]
    stdout().print(table("One network for two targets, and one for each", columns, rows))
    print(found["summary"])
    if found["caution"]:
        print(f"Note: {found['caution']}")


def _cells(row: Row) -> list[tuple[str, ...]]:
    budgets = "; ".join(row["budgets"])
    if "refusal" in row:
        return [(budgets, row["for"], *("-",) * 6, f"none, exit code {row['exit_code']}")]
    return [
        (
            budgets,
            f"{row['for']}, on {one['target']}" if row["for"] == "both" else row["for"],
            f"{milliseconds(one['predicted_us'])} ({one['predicted_upper_us'] / 1000:.2f})",
            f"{milliseconds(one['measured_us'])} ({one['measured_upper_us'] / 1000:.2f})"
            f"{', noisy' if one['noisy'] else ''}",
            milliseconds(one["budget_us"]),
            "yes" if one["kept"] else "NO",
            percent(row["calibration"]),
            percent(row["held_out"]),
            row["network"],
        )
        for one in row["on"]
    ]


if __name__ == "__main__":
    main()
