"""The same table made twice: how many blocks agree within the intervals that they state.

Every block of five donors is measured by the protocol of `derycc profile`, all of them again from
nothing, in fresh processes. Two measurements of a block agree where their 95 % intervals overlap.
Beside it: in how many blocks the second median lies in the first interval, and how far the medians
are apart.

    python benchmarks/repeatability.py [--target cpu:threads=1] [--quick]
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.machine import machine
from benchmarks.profiled_blocks import blocks, parser, told
from benchmarks.result_files import write
from profilers.measurement import Measurement
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.target import get_target

DONORS = ("mobilenetv2_100", "resnet18", "regnety_004", "mobilenetv3_large_100", "convnext_atto")
PROTOCOL = Protocol(max_seconds=0.15)
GOAL = 0.95

Pair = tuple[Measurement, Measurement]


def main() -> None:
    """Measure twice, compare, print, and write the result file."""
    arguments = parser(__doc__, "a small donor").parse_args()
    target = get_target(arguments.target)
    models = blocks(DONORS[:1], [64]) if arguments.quick else blocks(DONORS, [224])
    protocol = Protocol.quick() if arguments.quick else PROTOCOL
    with tempfile.TemporaryDirectory() as folder, CostStore(Path(folder) / "costs") as store:
        first, second = (
            profile(models, target, store=store, protocol=protocol, progress=told, fresh=True).costs
            for _ in range(2)
        )
    pairs = [(first[key], second[key]) for key in first if key in second]
    quiet = [pair for pair in pairs if not any(cost.noisy for cost in pair)]
    found = {"all": _summary(pairs), "not_noisy": _summary(quiet) if quiet else None}
    print(f"\n{json.dumps(found, indent=1)}\ngoal: {GOAL:.0%} agree")
    if not arguments.quick:
        rows = [_row(*pair) for pair in pairs]
        write("repeatability", {"machine": machine(target), "summary": found, "blocks": rows})


def _summary(pairs: Sequence[Pair]) -> dict[str, object]:
    apart = np.array([abs(_apart(*pair)) for pair in pairs])
    inside = [
        first.interval_us[0] <= second.median_us <= first.interval_us[1] for first, second in pairs
    ]
    return {
        "blocks": len(pairs),
        "agree": float(np.mean([_agree(*pair) for pair in pairs])),
        "second_median_in_first_interval": float(np.mean(inside)),
        "apart": {
            "median": float(np.median(apart)),
            "p95": float(np.percentile(apart, 95)),
            "max": float(apart.max()),
        },
        "half_width": {
            "median": float(np.median([cost.relative_half_width for p in pairs for cost in p])),
        },
    }


def _agree(first: Measurement, second: Measurement) -> bool:
    (low, high), (other_low, other_high) = first.interval_us, second.interval_us
    return low <= other_high and other_low <= high


def _apart(first: Measurement, second: Measurement) -> float:
    return second.median_us / first.median_us - 1


def _row(first: Measurement, second: Measurement) -> dict[str, object]:
    return {
        "name": first.name,
        "medians_us": [first.median_us, second.median_us],
        "intervals_us": [first.interval_us, second.interval_us],
        "rounds": [len(first.rounds), len(second.rounds)],
        "agree": _agree(first, second),
        "apart": _apart(first, second),
        "noise": [first.noise, second.noise],
    }


if __name__ == "__main__":
    main()
