"""The assembly program's solver beside the plain CP-SAT flow model: time, memory, agreement.

Every run is a process of its own, so that its peak memory is its own: the instance is made, then
solved, and what is timed is `assemble` or the plain model alone, from the problem in memory to the
proof. Where both prove, their objectives are compared; they round budgets to 1e-10 of a limit, so
that they may differ by as much.

The plain model has 120 s, and 60 s where there are more than 15,000 arcs, which lets the whole run
end in a quarter of an hour. Where it does not prove the first seed it is not tried on the others.
What it did not prove is reported as not proven, and the factor is then a lower bound.

    python benchmarks/assembly.py [--seeds 3] [--keep-plain] [--smoke]
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.assembly_instances import (
    also_gated,
    also_limited,
    chain_instance,
    facts,
    zoo_instance,
)
from benchmarks.result_files import shown, write
from compiler.assembly import assemble
from compiler.plain_flow import plain_best
from compiler.problem import Problem
from derycc.console import stdout, table

LIMIT_S, LARGE_LIMIT_S = 120.0, 60.0
LARGE = 15_000
TARGET_S, TARGET_FACTOR = 10.0, 10.0


Size = tuple[str, int, int]

SIZES: tuple[Size, ...] = (
    ("zoo", 30, 12),
    ("zoo", 100, 12),
    ("zoo", 300, 12),
    ("zoo", 1000, 12),
    ("cycles", 100, 12),
    ("limits", 100, 12),
    ("gates", 30, 12),
    ("gates", 100, 12),
    ("chain", 80, 16),
    ("chain", 80, 54),
)
SMOKE: tuple[Size, ...] = (
    ("zoo", 5, 4),
    ("cycles", 5, 4),
    ("limits", 5, 4),
    ("gates", 5, 4),
    ("chain", 10, 4),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One instance, one solver.

    Attributes:
        kind: "zoo", "cycles" (stitches that lead back), "limits" (parameters and stitches limited
            as well), "gates" (peak memory and the number of donors limited as well) or "chain".
        wide: donors, or layers.
        deep: cuts, or choices.
        seed: of the instance.
        solver: "derycc" or "plain".
        arcs: of the instance.
        proven: whether the answer is.
        objective: the answer's, None without one.
        seconds: of the solver.
        peak_mb: peak memory of the process, in megabytes.
        before_mb: the same before the solver began, the instance made.
    """

    kind: str
    wide: int
    deep: int
    seed: int
    solver: str
    arcs: int
    proven: bool
    objective: float | None
    seconds: float
    peak_mb: float
    before_mb: float


def instance(kind: str, wide: int, deep: int, seed: int) -> Problem:
    """The instance of a row."""
    if kind == "chain":
        return chain_instance(wide, deep, seed)
    made = zoo_instance(wide, deep, seed, backward=kind == "cycles")
    if kind == "gates":
        return also_gated(made, stitches=4)
    return also_limited(made, stitches=2) if kind == "limits" else made


def main() -> None:
    """Run all, print, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="small instances; writes nothing")
    parser.add_argument(
        "--keep-plain", action="store_true", help="take the plain model's runs of the result file"
    )
    arguments = parser.parse_args()
    sizes, seeds = (SMOKE, 2) if arguments.smoke else (SIZES, arguments.seeds)
    known = _kept() if arguments.keep_plain else {}
    by_size = [_runs(size, seeds, known.get(size, ())) for size in sizes]
    rows = [_summary(runs) for runs in by_size]
    _print(rows)
    if not arguments.smoke:
        content = {
            "machine": facts(),
            "limits_s": {"plain": LIMIT_S, f"plain, above {LARGE} arcs": LARGE_LIMIT_S},
            "targets": {"seconds": TARGET_S, "factor": TARGET_FACTOR},
            "sizes": rows,
            "runs": [asdict(run) for runs in by_size for run in runs],
        }
        write("assembly", content)


def _kept() -> dict[Size, list[Run]]:
    """The plain model's runs of the result file: it takes nearly all the time."""
    found: dict[Size, list[Run]] = {}
    for told in shown("assembly")["runs"]:
        run = Run(**told)
        if run.solver == "plain":
            found.setdefault((run.kind, run.wide, run.deep), []).append(run)
    return found


def _runs(size: Size, seeds: int, known: Sequence[Run]) -> list[Run]:
    """Our runs and those of the plain model, which are made unless they are known."""
    runs = [_alone("derycc", *size, seed) for seed in range(seeds)]
    if known:
        return [*runs, *known]
    for seed in range(seeds):
        runs.append(_alone("plain", *size, seed))
        if not runs[-1].proven:
            break
    return runs


def _alone(*what: Any) -> Run:
    """A run in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        run = pool.apply(_solved, what)
    said = f"{run.seconds:.2f} s, {'proven' if run.proven else 'not proven'}"
    print(f"{run.kind} {run.wide}x{run.deep} seed {run.seed}, {run.solver}: {said}", flush=True)
    return run


def _solved(solver: str, kind: str, wide: int, deep: int, seed: int) -> Run:
    problem = instance(kind, wide, deep, seed)
    arcs, before = len(problem.arcs), _peak_mb()
    started = time.monotonic()
    if solver == "derycc":
        answer = assemble(problem, time_limit_s=LIMIT_S)
        proven, objective = answer.status == "optimal", answer.objective
    else:
        limit = LARGE_LIMIT_S if arcs > LARGE else LIMIT_S
        plain = plain_best(problem, time_limit_s=limit)
        proven, objective = plain.proven, plain.objective
    seconds = time.monotonic() - started
    return Run(kind, wide, deep, seed, solver, arcs, proven, objective, seconds, _peak_mb(), before)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _summary(runs: Sequence[Run]) -> dict[str, Any]:
    ours = [run for run in runs if run.solver == "derycc"]
    plain = {run.seed: run for run in runs if run.solver == "plain"}
    pairs = [(run, plain[run.seed]) for run in ours if run.seed in plain]
    both = [(a, b) for a, b in pairs if a.proven and b.proven]
    return {
        "instance": f"{runs[0].kind} {runs[0].wide}x{runs[0].deep}",
        "arcs": max(run.arcs for run in ours),
        "proven": f"{sum(run.proven for run in ours)} of {len(ours)}",
        "seconds": max(run.seconds for run in ours),
        "peak_mb": max(run.peak_mb for run in ours),
        "plain_proven": f"{sum(run.proven for run in plain.values())} of {len(plain)}",
        "plain_seconds": max(run.seconds for run in plain.values()),
        "plain_peak_mb": max(run.peak_mb for run in plain.values()),
        "least_factor": min(b.seconds / a.seconds for a, b in pairs),
        "agree": f"{sum(_agree(a, b) for a, b in both)} of {len(both)}",
    }


def _agree(ours: Run, plain: Run) -> bool:
    if ours.objective is None or plain.objective is None:
        return ours.objective is plain.objective
    return abs(ours.objective - plain.objective) <= 1e-8 * max(abs(plain.objective), 1.0)


def _print(rows: Sequence[dict[str, Any]]) -> None:
    columns = tuple(f">{name}" if name != "instance" else name for name in rows[0])
    cells = [
        tuple(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row.values())
        for row in rows
    ]
    stdout().print(table("Assembly: derycc beside the plain flow model", columns, cells))


if __name__ == "__main__":
    main()
