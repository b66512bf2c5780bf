"""What folding does to stitched networks: operators, latency and answers, before and after.

Random stitched networks of nine families of untrained donors, as torch exports them and as they are
built: folded. Both are measured whole in the same rounds, each in fresh processes, under the same
settings of the runtime, whose own optimizer works on both; and both answer the same seeded picture.
Latency does not depend on weights.

    python benchmarks/folding.py [--target cpu:threads=1] [--networks 12] [--quick]
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import geometric_mean

import numpy as np

from backends.model import ExportedModel
from backends.registry import get_backend
from benchmarks.machine import machine
from benchmarks.prediction import DONORS, PROTOCOL, QUICK_DONORS
from benchmarks.profiled_blocks import parser, told
from benchmarks.result_files import write
from compiler.chains import random_networks
from compiler.compatibility import PairRule
from compiler.donors import Donors
from compiler.folding import Folded, fold
from compiler.network import Blueprint, build
from compiler.zoo import open_zoo
from derycc.benching import plain_export
from profilers.measurement import Measurement
from profilers.profile import profile
from profilers.store import CostStore
from targets.target import Target, get_target

SEED = 20261130


@dataclass(frozen=True, slots=True)
class Case:
    """One network before and after.

    Attributes:
        network: what it is made of.
        stitches: layers that join donors.
        gone: nodes that each rewrite removed.
        nodes: before and after.
        latency_us: before and after.
        ratio: latency after, as a share of that before.
        ratio_interval: 95 percent, from the intervals of both, which add in quadrature.
        difference: largest difference of any logit, as a share of the largest logit.
        noisy: whether one of the measurements is labelled so.
    """

    network: str
    stitches: int
    gone: Mapping[str, int]
    nodes: tuple[int, int]
    latency_us: tuple[float, float]
    ratio: float
    ratio_interval: tuple[float, float]
    difference: float
    noisy: bool


def main() -> None:
    """Fold, measure, print, and write the result file."""
    options = parser(__doc__, "six networks of two small donors")
    options.add_argument("--networks", type=int, default=12, help="stitched ones to fold")
    arguments = options.parse_args()
    names, size, count = [n for n in DONORS if "deit" not in n], 224, arguments.networks
    if arguments.quick:
        names, size, count = list(QUICK_DONORS), 64, 6
    with tempfile.TemporaryDirectory() as folder:
        pairs = networks(names, size, count, Path(folder))
        cases = measured(pairs, Path(folder), get_target(arguments.target))
    found = summary(cases)
    for case in cases:
        print(f"{case.nodes[0]} -> {case.nodes[1]} nodes, latency x {case.ratio:.3f}  {case.gone}")
    print(found)
    if not arguments.quick:
        about = {
            "donors": names,
            "input_size": size,
            "machine": machine(get_target(arguments.target)),
        }
        write("folding", {**about, "summary": found, "cases": [asdict(case) for case in cases]})


def networks(
    names: Sequence[str], size: int, count: int, folder: Path
) -> list[tuple[Blueprint, ExportedModel, Folded]]:
    """Random networks as torch exports them and as they are folded."""
    donors = Donors(open_zoo(folder, ",".join(f"random:{name}" for name in names)))
    drawn = random_networks(
        [donors.dissection(name, size) for name in donors.names], PairRule(), count, seed=SEED
    )
    shape = (1, 3, size, size)
    made = [(one, plain_export(build(one, donors), shape)) for one in drawn]
    return [(blueprint, model, fold(model)) for blueprint, model in made]


def measured(
    pairs: Sequence[tuple[Blueprint, ExportedModel, Folded]], folder: Path, target: Target
) -> list[Case]:
    """All of them, before and after."""
    models = [model for _, before, after in pairs for model in (before, after.model)]
    with CostStore(folder / "costs.sqlite") as store:
        protocol = replace(PROTOCOL, max_seconds=2 * PROTOCOL.max_seconds)
        table = profile(models, target, store=store, protocol=protocol, progress=told)
    print()
    return [
        case(
            blueprint, before, after, (table.cost(before).raw, table.cost(after.model).raw), target
        )
        for blueprint, before, after in pairs
    ]


def case(
    blueprint: Blueprint,
    before: ExportedModel,
    after: Folded,
    latencies: tuple[Measurement, Measurement],
    target: Target,
) -> Case:
    """One network's figures."""
    first, second = latencies
    ratio = second.median_us / first.median_us
    half = ratio * float(np.hypot(first.relative_half_width, second.relative_half_width))
    return Case(
        str(blueprint),
        blueprint.stitches,
        dict(after.gone),
        (after.nodes_before, after.nodes),
        (first.median_us, second.median_us),
        ratio,
        (ratio - half, ratio + half),
        difference(before, after.model, target),
        first.noisy or second.noisy,
    )


def difference(before: ExportedModel, after: ExportedModel, target: Target) -> float:
    """The largest difference of two models' answers to a seeded picture, relative."""
    x = np.random.default_rng(0).standard_normal(before.inputs[0].shape).astype(np.float32)
    answers = []
    for model in (before, after):
        with get_backend(target.backend).compile(model, target) as engine:
            (found,) = engine.run({model.inputs[0].name: x}).values()
        answers.append(found)
    return float(np.abs(answers[1] - answers[0]).max() / np.abs(answers[0]).max())


def summary(cases: Sequence[Case]) -> dict[str, float]:
    """Over all networks."""
    ratios = [case.ratio for case in cases]
    return {
        "networks": len(cases),
        "stitches": sum(case.stitches for case in cases),
        "convolutions_folded": sum(case.gone.get("convolutions", 0) for case in cases),
        "nodes_before": sum(case.nodes[0] for case in cases),
        "nodes_after": sum(case.nodes[1] for case in cases),
        "geometric_mean_latency_ratio": geometric_mean(ratios),
        "faster_beyond_the_interval": sum(case.ratio_interval[1] < 1.0 for case in cases),
        "slower_beyond_the_interval": sum(case.ratio_interval[0] > 1.0 for case in cases),
        "noisy": sum(case.noisy for case in cases),
        "largest_relative_difference": max(case.difference for case in cases),
    }


if __name__ == "__main__":
    main()
