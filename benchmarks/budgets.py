"""Is what was built within its budget, for budgets from the fastest to the slowest donor?

Budgets evenly in ratio, from below the fastest donor of the demo zoo to just above the slowest. For
each a network is searched for, built, measured, and measured anew after the choice, as by `derycc
build`: predicted beside measured, expected quality beside measured, the best single donor within
the same budget, and the certificate. Writes one JSON file under `benchmarks/results/`, with the
machine and the versions.

    python benchmarks/budgets.py [--points 12] [--candidates 6] [--size 224] [--home HOME]
    python benchmarks/budgets.py --show        prints the committed result again
    python benchmarks/budgets.py --smoke       two budgets, two candidates; writes nothing
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.result_files import shown, write
from compiler.workbench import Workbench
from derycc.building import Request
from derycc.console import Bars, milliseconds, percent, stdout
from derycc.options import default_home
from derycc.printing import candidate_data
from derycc.printing_sweep import built_lines, point_data, score_of, summary, sweep_table
from derycc.session import Options, caution, open_workbench
from derycc.sweeping import default_budgets, donors_alone, sweep
from targets.target import get_target

TARGET = "cpu:threads=1"


def main() -> None:
    """Build for every budget, print the table, and write the result file."""
    asked = _arguments()
    if asked.show:
        _print(shown("budgets"))
        return
    points, candidates = (2, 2) if asked.smoke else (asked.points, asked.candidates)
    options = Options(asked.home, TARGET, sizes=tuple(asked.size or (224,)))
    with open_workbench(options, Bars()) as bench:
        found = _measure(bench, points, candidates)
    _print(found)
    if not asked.smoke:
        write("budgets", found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=default_home())
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--candidates", type=int, default=6)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--show", action="store_true")
    return parser.parse_args()


def _measure(bench: Workbench, points: int, candidates: int) -> dict[str, Any]:
    request = Request(None, candidates=candidates)
    alone = donors_alone(bench)
    budgets = default_budgets(bench, request, alone, points)
    found = sweep(bench, request, budgets, alone)
    rows = [point_data(point) for point in found]
    return {
        "machine": machine(get_target(TARGET)),
        "sizes": list(bench.settings.sizes),
        "candidates": candidates,
        "images": bench.photographs.digest,
        "caution": caution(bench.photographs),
        "donors": [candidate_data(candidate) for candidate in alone],
        "points": rows,
        "summary": summary(rows),
    }


def _print(found: dict[str, Any]) -> None:
    for donor in found["donors"]:
        name = donor["network"]["segments"][0]["model"]
        upper_us = donor["interval_us"][1]
        print(
            f"{name}: {milliseconds(donor['median_us'])} (to {milliseconds(upper_us)}), "
            f"{percent(score_of(donor['held_out']))} held out"
        )
    stdout().print(sweep_table(found["points"]))
    print("\n".join(built_lines(found["points"])))
    for point in found["points"]:
        if "refusal" in point:
            print(f"{point['budget']}: {point['refusal']}")
    print(found["summary"])
    if found["caution"]:
        print(f"Note: {found['caution']}")


if __name__ == "__main__":
    main()
