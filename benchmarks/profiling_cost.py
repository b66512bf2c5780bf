"""What it takes to profile the demo zoo, beside measuring every block naively.

derycc measures blocks that differ only in their weights once, and stops a round as soon as the
interval is narrow. The naive way measures every block of every donor at every size, each for one
fixed number of units: the number that the worst block needs for the interval that derycc gives it
(the most units that derycc spent on any block in a round). Both take the same rounds, warm up the
same way, and share a process over all blocks of a round, in favour of the naive way, which has
no sentinel between its blocks and no further rounds either.

    python benchmarks/profiling_cost.py [--target cpu:threads=1] [--quick]
"""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from backends.model import ExportedModel
from benchmarks.machine import machine
from benchmarks.profiled_blocks import blocks, parser, told
from benchmarks.result_files import write
from compiler.demo_zoo import DEMO_DONORS
from profilers.measurement import Measurement
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.target import Target, get_target

PROTOCOL = Protocol(max_seconds=0.15)
GOAL = 3.0

Costs = Mapping[str, Measurement]


def main() -> None:
    """Measure both ways, print, and write the result file."""
    arguments = parser(__doc__, "one small donor").parse_args()
    target = get_target(arguments.target)
    names = [donor.architecture for donor in DEMO_DONORS]
    sizes = sorted({donor.preprocessing.input_size for donor in DEMO_DONORS})
    models = blocks(["mobilenetv2_100"], [64]) if arguments.quick else blocks(names, sizes)
    protocol = Protocol.quick() if arguments.quick else PROTOCOL
    spent, costs = _timed([models], target, protocol)
    units = max(len(samples) for cost in costs.values() for samples in cost.rounds)
    naive_spent, naive_costs = _timed(_layers(models), target, _fixed(protocol, units))
    found = {
        "blocks": len(models),
        "distinct_blocks": len(costs),
        "derycc": {"seconds": spent, **_precision(costs)},
        "naive": {"seconds": naive_spent, "units": units, **_precision(naive_costs)},
        "times_less": naive_spent / spent,
    }
    print(f"\n{json.dumps(found, indent=1)}\ngoal: {GOAL:g} times less")
    if not arguments.quick:
        write("profiling_cost", {"machine": machine(target), "protocol": asdict(protocol), **found})


def _fixed(protocol: Protocol, units: int) -> Protocol:
    """Exactly so many units a round: any interval is narrow enough, however long it takes."""
    return replace(
        protocol,
        min_units=units,
        max_rounds=protocol.rounds,
        target_half_width=1e6,
        max_seconds=1e6,
    )


def _layers(models: Sequence[ExportedModel]) -> list[list[ExportedModel]]:
    """All models, in groups without two of one structure, because such a pair is measured once."""
    layers: dict[int, list[ExportedModel]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    for model in models:
        layers[seen[model.structure]].append(model)
        seen[model.structure] += 1
    return list(layers.values())


def _timed(
    groups: Sequence[Sequence[ExportedModel]], target: Target, protocol: Protocol
) -> tuple[float, Costs]:
    """Seconds for all groups, and the costs of the first."""
    tables = []
    start = time.perf_counter()
    for group in groups:
        with tempfile.TemporaryDirectory() as folder, CostStore(Path(folder) / "costs") as store:
            tables.append(
                profile(group, target, store=store, protocol=protocol, progress=told).costs
            )
    return time.perf_counter() - start, tables[0]


def _precision(costs: Costs) -> dict[str, object]:
    widths = [cost.relative_half_width for cost in costs.values()]
    return {
        "half_width": {"median": float(np.median(widths)), "max": max(widths)},
        "noisy": sum(cost.noisy for cost in costs.values()),
    }


if __name__ == "__main__":
    main()
