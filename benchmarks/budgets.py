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
import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backends.registry import get_backend
from compiler.workbench import Workbench
from derycc.building import Request
from derycc.console import Bars, milliseconds, percent, stdout
from derycc.options import default_home
from derycc.printing import candidate_data
from derycc.printing_sweep import point_data, summary, sweep_table
from derycc.session import Options, caution, open_workbench
from derycc.sweeping import default_budgets, donors_alone, sweep
from profilers.environment import Environment
from targets.target import get_target

TARGET = "cpu:threads=1"
RESULT = Path(__file__).resolve().parent / "results" / "budgets.json"


def main() -> None:
    """Build for every budget, print the table, and write the result file."""
    asked = _arguments()
    if asked.show and not RESULT.exists():
        raise SystemExit("No result is committed yet. Leave --show out to measure one.")
    if asked.show:
        _print(json.loads(RESULT.read_text(encoding="utf-8")))
        return
    points, candidates = (2, 2) if asked.smoke else (asked.points, asked.candidates)
    options = Options(asked.home, TARGET, sizes=tuple(asked.size or (224,)))
    with open_workbench(options, Bars()) as bench:
        found = _measure(bench, points, candidates)
    _print(found)
    if not asked.smoke:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"written to {RESULT.relative_to(RESULT.parents[2])}")


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
        "machine": _machine(),
        "sizes": list(bench.settings.sizes),
        "candidates": candidates,
        "images": bench.photographs.digest,
        "caution": caution(bench.photographs),
        "donors": [candidate_data(candidate) for candidate in alone],
        "points": rows,
        "summary": summary(rows),
    }


def _machine() -> dict[str, object]:
    environment = Environment.capture(get_target(TARGET), get_backend("ort"))
    packages = ("torch", "timm", "onnx", "onnxruntime", "ortools")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "system": platform.system(),
        "environment": asdict(environment),
        "versions": {name: version(name) for name in packages},
    }


def _print(found: dict[str, Any]) -> None:
    for donor in found["donors"]:
        name = donor["network"]["segments"][0]["model"]
        upper_us, held_out = donor["interval_us"][1], donor["held_out"]
        score = held_out["agreement"] if held_out["top1"] is None else held_out["top1"]
        print(
            f"{name}: {milliseconds(donor['median_us'])} (to {milliseconds(upper_us)}), "
            f"{percent(score)} held out"
        )
    stdout().print(sweep_table(found["points"]))
    for point in found["points"]:
        if "refusal" in point:
            print(f"{point['budget']}: {point['refusal']}")
    print(found["summary"])
    if found["caution"]:
        print(f"Note: {found['caution']}")


if __name__ == "__main__":
    main()
