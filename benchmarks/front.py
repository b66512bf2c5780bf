"""Many budgets at once beside one solve for each: time, and whether the answers are the same.

On generated instances, 50 budgets of latency from the least possible to what the best path takes:
`front` against `assemble` at every budget. Beside it, how many Pareto-optimal answers there are
between and how long all of them take.

    python benchmarks/front.py [--points 50] [--smoke]
"""

import argparse
import time
from dataclasses import replace
from typing import Any

from benchmarks.assembly_instances import chain_instance, facts, zoo_instance
from benchmarks.result_files import write
from compiler.assembly import assemble, cheapest
from compiler.front import front
from compiler.problem import Problem
from derycc.console import stdout, table

TARGET_FACTOR = 5.0
LATENCY = "latency_us"

SIZES = (
    ("zoo", 30, 12),
    ("zoo", 100, 12),
    ("cycles", 100, 12),
    ("zoo", 300, 12),
    ("zoo", 1000, 12),
    ("chain", 20, 8),
)
SMOKE = (("zoo", 6, 4), ("cycles", 6, 4))


def main() -> None:
    """Run all, print, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--smoke", action="store_true", help="small instances; writes nothing")
    arguments = parser.parse_args()
    sizes = SMOKE if arguments.smoke else SIZES
    rows = [_row(*size, arguments.points) for size in sizes]
    columns = tuple(f">{name}" if name != "instance" else name for name in rows[0])
    cells = [
        tuple(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row.values())
        for row in rows
    ]
    stdout().print(table("Fronts beside single solves", columns, cells))
    if not arguments.smoke:
        content = {"machine": facts(), "target_factor": TARGET_FACTOR, "sizes": rows}
        write("front", content)


def _row(kind: str, wide: int, deep: int, points: int) -> dict[str, Any]:
    problem = _instance(kind, wide, deep)
    low = cheapest(problem, LATENCY).cost(LATENCY)
    high = assemble(replace(problem, limits=())).cost(LATENCY)
    started = time.monotonic()
    many = front(problem, LATENCY, low, high, points=points, time_limit_s=600)
    middle = time.monotonic()
    single = [assemble(replace(problem, limits=((LATENCY, point.limit),))) for point in many.points]
    end = time.monotonic()
    every = front(problem, LATENCY, low, high, time_limit_s=600)
    return {
        "instance": f"{kind} {wide}x{deep}",
        "arcs": len(problem.arcs),
        "budgets": len(many.points),
        "seconds": middle - started,
        "single_seconds": end - middle,
        "factor": (end - middle) / (middle - started),
        "same": sum(a.arcs == b.assembly.arcs for a, b in zip(single, many.points, strict=True)),
        "proven": many.proven and every.proven,
        "pareto": len(every.points),
        "pareto_seconds": time.monotonic() - end,
    }


def _instance(kind: str, wide: int, deep: int) -> Problem:
    if kind == "chain":
        return chain_instance(wide, deep, 0)
    return zoo_instance(wide, deep, 0, backward=kind == "cycles")


if __name__ == "__main__":
    main()
