"""Other programs load the machine: is every result that is wrong then labelled noisy?

The same blocks are measured alone, and while one and two processes keep a processor busy each, in
a session of their own as another user's would be. A result under load is wrong where its interval
does not meet the one that was measured alone. Every store is new, so that nothing is known of the
machine from better times. Run it where nothing else runs: the measurement alone is the truth here.

    python benchmarks/noise_honesty.py [--target cpu:threads=1] [--quick]
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from backends.model import ExportedModel
from benchmarks.machine import machine
from benchmarks.profiled_blocks import blocks, parser, told
from benchmarks.result_files import write
from profilers.measurement import NOISY_CONTENTION, Measurement
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.target import Target, get_target

DONORS = ("mobilenetv2_100", "resnet18")
PROTOCOL = Protocol(max_seconds=0.15)
BUSY = (0, 1, 2)

Costs = Mapping[str, Measurement]


def main() -> None:
    """Measure under every load, compare, print, and write the result file."""
    arguments = parser(__doc__, "few blocks").parse_args()
    target = get_target(arguments.target)
    models = blocks(DONORS[:1], [64])[::6] if arguments.quick else blocks(DONORS, [224])
    protocol = Protocol.quick() if arguments.quick else PROTOCOL
    alone = _measured(models, target, protocol)
    cases = [_case("alone, again", alone, _measured(models, target, protocol))]
    for count in BUSY[1:]:
        with _busy(count):
            loaded = _measured(models, target, protocol)
        cases.append(_case(f"{count} busy", alone, loaded))
    truth = {"noisy": sum(cost.noisy for cost in alone.values()), **_contention(alone)}
    found = {"limit": NOISY_CONTENTION, "alone": truth, "cases": cases}
    print(f"\n{json.dumps(found, indent=1)}")
    if not arguments.quick:
        write("noise_honesty", {"machine": machine(target), **found})


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that do nothing but run."""
    processes = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _measured(models: Sequence[ExportedModel], target: Target, protocol: Protocol) -> Costs:
    with tempfile.TemporaryDirectory() as folder, CostStore(Path(folder) / "costs") as store:
        return profile(models, target, store=store, protocol=protocol, progress=told).costs


def _case(name: str, alone: Costs, loaded: Costs) -> dict[str, object]:
    pairs = [(alone[key], loaded[key]) for key in alone if key in loaded]
    wrong = [now for truth, now in pairs if not _meet(truth, now)]
    return {
        "case": name,
        "blocks": len(pairs),
        "wrong": len(wrong),
        "wrong_and_not_labelled": sum(not now.noisy for now in wrong),
        "labelled": sum(now.noisy for _, now in pairs),
        "slower": float(np.median([now.median_us / truth.median_us for truth, now in pairs])),
        **_contention(loaded),
    }


def _contention(costs: Costs) -> dict[str, object]:
    shares = [cost.contention for cost in costs.values() if cost.contention is not None]
    if not shares:
        return {"contention": None}
    low, middle, high = np.percentile(shares, [0, 50, 100])
    return {"contention": {"min": float(low), "median": float(middle), "max": float(high)}}


def _meet(first: Measurement, second: Measurement) -> bool:
    (low, high), (other_low, other_high) = first.interval_us, second.interval_us
    return low <= other_high and other_low <= high


if __name__ == "__main__":
    main()
