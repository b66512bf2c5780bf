"""Everything that needs a GPU, in one command that goes on where it was stopped.

On a machine with a CUDA GPU and TensorRT: the ladder of `derycc doctor`, the contract of all
backends, a profile of the demo zoo, builds under three budgets in fp32 and in fp16, each measured
and verified, and predictions of twenty networks that were not used for fitting, beside what they
take. Prints a table and writes `benchmarks/results/gpu_check.json` after each stage.

    make gpu-check
    python benchmarks/gpu_check.py [--seconds 420]
    python benchmarks/gpu_check.py --target cpu:threads=1 --quick     the stages without a GPU

`DERYCC_TRT_PYTHON` names the interpreter that has TensorRT. No stage is begun after `--seconds`;
called again, it goes on with those that are left.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.machine import machine
from benchmarks.prediction import DONORS, QUICK_DONORS, measured, summary
from benchmarks.result_files import RESULTS, write
from derycc.building import Request
from derycc.console import Bars, milliseconds, percent, stdout, table
from derycc.session import Options, open_workbench
from derycc.sweeping import Point, default_budgets, donors_alone, sweep
from derycc.target_doctor import examine
from targets.errors import DeryccError
from targets.facts import Facts
from targets.target import Target, get_target

BUDGETS, NETWORKS, SIZE = 3, 20, 224
_NAME = "gpu_check"
_CONTRACT = Path(__file__).resolve().parents[1] / "tests" / "backends" / "test_contract.py"
Row = dict[str, Any]


def main() -> None:
    """Run the stages that are left, print what there is, and write it."""
    asked = _arguments()
    path, begun = RESULTS / f"{_NAME}.json", monotonic()
    found: Row = {}
    if path.exists() and not asked.fresh and not asked.quick:
        found = json.loads(path.read_text(encoding="utf-8"))
    for name, stage in _STAGES.items():
        done = name in found.get("stages", {}) and "failed" not in found["stages"][name]
        if done or monotonic() - begun > asked.seconds:
            continue
        print(f"== {name}", flush=True)
        since = monotonic()
        try:
            row = stage(asked)
        except DeryccError as error:
            row = {"failed": str(error)}
        row["seconds"] = monotonic() - since
        found.setdefault("stages", {})[name] = row
        if "failed" in row and name == "doctor":
            _print(found)
            raise SystemExit(6)
        found["machine"] = machine(get_target(asked.target))
        if not asked.quick:
            write(_NAME, found)
    _print(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="cuda")
    parser.add_argument("--home", type=Path, default=Path(".derycc/gpu-check"))
    parser.add_argument("--zoo", help="other donors than the demo's")
    parser.add_argument("--seconds", type=float, default=420.0, help="begin no stage after them")
    parser.add_argument("--fresh", action="store_true", help="do all stages again")
    parser.add_argument("--quick", action="store_true", help="small networks; writes nothing")
    return parser.parse_args()


def _doctor(asked: argparse.Namespace) -> Row:
    """As `derycc doctor --target` says it."""
    found = examine(get_target(asked.target), Facts.read(), steps=True)
    failed = {"failed": found.problems[0]} if found.problems else {}
    return {"steps": [asdict(step) for step in found.steps], **failed}


def _contract(asked: argparse.Namespace) -> Row:
    words = ["-q", "--no-cov", "-p", "no:cacheprovider", "-m", "cuda", str(_CONTRACT)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], capture_output=True, text=True, check=False
    )
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr.strip()[-200:]]
    return {"said": last[0], **({"failed": last[0]} if done.returncode else {})}


def _profile(asked: argparse.Namespace) -> Row:
    with open_workbench(_options(asked, asked.target), Bars()) as bench:
        costs = bench.table.costs
        worst = bench.latency_model.error
        return {
            "models": len(costs),
            "noisy": sum(cost.noisy for cost in costs.values()),
            "left_out_error": worst,
        }


def _builds(precision: str) -> Callable[[argparse.Namespace], Row]:
    """The best network for each of three budgets, in one precision."""

    def build(asked: argparse.Namespace) -> Row:
        target = get_target(asked.target)
        if precision != "fp32":
            target = replace(target, precisions=(precision,))
        with open_workbench(_options(asked, str(target)), Bars()) as bench:
            alone = donors_alone(bench)
            request = Request(None, candidates=2)
            budgets = default_budgets(bench, request, alone, BUDGETS)
            points = sweep(bench, request, budgets, alone)
        donors = {str(one.blueprint): one.latency.median_us for one in alone}
        return {"donors_us": donors, "points": [_point(point) for point in points]}

    return build


def _point(point: Point) -> Row:
    if point.built is None:
        return {"budget": point.budget, "refusal": point.refusal, "exit_code": point.exit_code}
    built = point.built
    latency = built.candidate.latency
    return {
        "budget": point.budget,
        "network": str(built.candidate.blueprint),
        "predicted_us": built.trial.predicted.median_us,
        "measured_us": latency.median_us,
        "measured_upper_us": latency.upper_us,
        "noisy": latency.noisy,
        "kept": built.kept,
        "cosine": built.verification.cosine,
        "gate": built.verification.gate,
        "held_out": built.candidate.judged.held_out.score,
    }


def _prediction(asked: argparse.Namespace) -> Row:
    """As `benchmarks/prediction.py` does it."""
    names: Sequence[str] = QUICK_DONORS if asked.quick else DONORS
    size, count = (64, 4) if asked.quick else (SIZE, NETWORKS)
    target: Target = get_target(asked.target)
    with tempfile.TemporaryDirectory() as folder:
        cases, later, _ = measured(names, size, count, Path(folder), target)
    return {"summary": summary(cases), "measured_later": summary(later)}


def _options(asked: argparse.Namespace, target: str) -> Options:
    size = 64 if asked.quick else SIZE
    return Options(asked.home, target, zoo=asked.zoo, sizes=(size,), quick=asked.quick)


_STAGES: dict[str, Callable[[argparse.Namespace], Row]] = {
    "doctor": _doctor,
    "contract": _contract,
    "profile": _profile,
    "builds in fp32": _builds("fp32"),
    "builds in fp16": _builds("fp16"),
    "prediction": _prediction,
}


def _print(found: Row) -> None:
    rows = []
    for name, row in found.get("stages", {}).items():
        rows.append((name, f"{row['seconds']:.0f} s", row.get("failed") or _said(name, row)))
    stdout().print(table("gpu-check", ("stage", ">took", "found"), rows))


def _said(name: str, row: Row) -> str:
    if name == "doctor":
        return "; ".join(step["found"] for step in row["steps"]) or "it can be used"
    if name == "profile":
        return f"{row['models']} models, {row['noisy']} of them noisy"
    if name == "prediction":
        own = row["summary"]["methods"]["derycc"]
        return (
            f"median error {percent(own['median_error'])}, {percent(own['within_10_percent'])} "
            f"within 10 % of {row['summary']['count']} networks"
        )
    if "points" in row:
        return "; ".join(map(_built, row["points"]))
    return str(row.get("said", ""))


def _built(point: Row) -> str:
    if "refusal" in point:
        return f"{point['budget']}: none (exit {point['exit_code']})"
    kept = "kept" if point["kept"] else "MISSED"
    return (
        f"{point['budget']}: {milliseconds(point['predicted_us'])} predicted, "
        f"{milliseconds(point['measured_us'])} measured, {kept}, cosine {point['cosine']:.5f}"
    )


if __name__ == "__main__":
    main()
