"""Predict what stitches cost in quality, and judge it by networks that were really built.

On the demo zoo, with labelled photographs: a stratified sample of networks of one stitch, half of
it predicted from the other half; and networks of two stitches, as the solver chooses them,
predicted from all of the former. Beside the drop model stand a constant drop, one in proportion to
1 - R2, one in proportion to 1 - CKA, and how well NASWOT and similarity order the same networks.

    python benchmarks/quality.py [--networks 40] [--pairs 24] [--smoke]
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.result_files import write
from compiler.cache import digest
from compiler.candidates import Photographs
from compiler.compatibility import StitchOption
from compiler.dissection import INPUT, OUTPUT
from compiler.drop_accuracy import held_out, transferred
from compiler.drop_model import DropModel, DropObservation
from compiler.images import load_images
from compiler.network import Blueprint, Segment
from compiler.path_score import promised
from compiler.proxies import get_proxy
from compiler.proxy_order import proxy_batches
from compiler.ranks import spearman
from compiler.search_space import option_id
from compiler.stitch_features import StitchFeatures
from compiler.workbench import Settings, Workbench
from compiler.zoo import open_zoo
from derycc.console import Bars
from derycc.options import default_home
from derycc.printing_judge import WAYS
from profilers.store import CostStore
from targets.target import get_target

ROOT = Path(__file__).resolve().parent
IMAGES = ROOT.parent.parent / "shared" / "images" / "imagenet_val500_10cls_224px.zip"
LEAST_MIDDLE = 0.15
"""Share of depth that lies between two stitches at the least."""
DRAWN = 2000
"""Networks of two stitches of which the better half by expectation is sampled."""


def main() -> None:
    """Judge, predict, print, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--smoke", action="store_true", help="a few networks; writes nothing")
    asked = parser.parse_args()
    if not IMAGES.exists():
        print(f"skipped: the images are not there ({IMAGES.name})")
        return
    if asked.smoke:
        asked.networks, asked.pairs, asked.images, asked.size = 6, 3, 40, 96
    home, progress = default_home(), Bars()
    zoo, photographs = open_zoo(home, None, progress), _photographs(asked.images)
    settings = Settings(home, (asked.size,))
    with CostStore(home / "costs.sqlite") as store:
        target = get_target("cpu:threads=1")
        bench = Workbench(zoo, target, store, settings, progress, photographs)
        found = _measured(bench, asked.networks, asked.pairs)
    found |= {
        "machine": machine(bench.target),
        "images": [IMAGES.name, asked.images],
        "size": asked.size,
    }
    _show(found)
    if not asked.smoke:
        write("quality", found)


def _photographs(count: int) -> Photographs:
    """So many to calibrate and choose with; a few that nothing here looks at are held out."""
    images = load_images(IMAGES)
    used, rest = images.split(count / len(images))
    return Photographs(used, rest.split(0.05)[0], 1)


def _measured(bench: Workbench, networks: int, pairs: int) -> dict[str, object]:
    judged = bench.stitch_judge.judge(networks)
    ones = [one.seen for one in judged]
    model, halves = DropModel.fit(ones), held_out(ones)
    chosen = _pairs(bench, model, pairs)
    designs = [_network(stitches) for stitches in chosen]
    twos = []
    bench.progress.start("building and judging networks of two stitches", len(chosen))
    for done, stitches in enumerate(chosen):
        bench.progress.update(done, str(designs[done]))
        twos.append(_judged(bench, stitches))
    bench.progress.finish()
    return {
        "photographs": len(bench.photographs.choosing),
        "one_stitch": _rows([one.network for one in judged], ones, halves.predicted),
        "two_stitches": _rows(designs, twos, list(map(model.expected, twos))),
        "held_out_half": [asdict(one) for one in halves.accuracies],
        "two_from_one": [asdict(one) for one in transferred(ones, twos)],
        "model": asdict(model),
        "quality_order": {
            "one_stitch": _orders(bench, [one.network for one in judged], ones),
            "two_stitches": _orders(bench, designs, twos),
        },
    }


def _pairs(
    bench: Workbench, model: DropModel, count: int
) -> list[tuple[StitchOption, StitchOption]]:
    """Networks of two stitches, spread over the better half of many by expected quality."""
    options = sorted(bench.options, key=lambda o: digest(option_id(o)))
    joined = [
        (a, b)
        for a, b in product(options, options)
        if a.target_model == b.source_model and b.source.depth - a.target.depth >= LEAST_MIDDLE
    ]
    joined.sort(key=lambda pair: digest(*map(option_id, pair)))
    quality = bench.donor_quality

    def expected(pair: tuple[StitchOption, StitchOption]) -> float:
        drops = sum(model.drop(StitchFeatures.of(option)) for option in pair)
        return promised(pair, quality) - drops

    better = sorted(joined[:DRAWN], key=expected, reverse=True)[: min(len(joined), DRAWN) // 2]
    return [better[number * len(better) // count] for number in range(count)]


def _network(stitches: Sequence[StitchOption]) -> Blueprint:
    starts = [INPUT, *(option.target.name for option in stitches)]
    ends = [*(option.source.name for option in stitches), OUTPUT]
    models = [stitches[0].source_model, *(option.target_model for option in stitches)]
    return Blueprint(stitches[0].size, tuple(map(Segment, models, starts, ends)))


def _judged(bench: Workbench, stitches: Sequence[StitchOption]) -> DropObservation:
    quality = bench.donor_quality
    measured = bench.candidates.quality(_network(stitches)).score
    features = tuple(map(StitchFeatures.of, stitches))
    return DropObservation(features, promised(stitches, quality), measured)


def _rows(
    networks: Sequence[Blueprint], seen: Sequence[DropObservation], predicted: Sequence[float]
) -> list[dict[str, object]]:
    return [
        {"network": str(network), **asdict(one), "drop": one.drop, "predicted": drop}
        for network, one, drop in zip(networks, seen, predicted, strict=True)
    ]


def _orders(
    bench: Workbench, networks: Sequence[Blueprint], seen: Sequence[DropObservation]
) -> dict[str, float | None]:
    """Rank correlation of scores with measured quality."""
    images, proxy = bench.photographs.calibration, get_proxy("naswot")
    naswot = []
    for design in networks:
        network = bench.candidates.network(design)
        naswot.append(proxy(network, *proxy_batches(images, network.preprocessing, 0)))
    alike = [-sum(stitch.dissimilar for stitch in one.stitches) for one in seen]
    measured = [one.measured for one in seen]
    return {"naswot": spearman(naswot, measured), "similarity": spearman(alike, measured)}


def _show(found: dict[str, object]) -> None:
    for name in ("held_out_half", "two_from_one"):
        print(name)
        rows = found[name]
        assert isinstance(rows, list)
        for row in rows:
            correlation = row["correlation"]
            said = "-" if correlation is None else f"{correlation:+.2f}"
            error = 100 * row["error"]
            print(f"  {WAYS[row['name']]:32} rank correlation {said:>6}, error {error:.1f} points")
    print("rank correlation with measured quality:", found["quality_order"])


if __name__ == "__main__":
    main()
