"""How well latencies of whole networks are predicted that were not used for fitting.

Ten untrained donors of ten families are profiled as `derycc profile` does it: blocks, whole donors,
stitch shapes, windows, and six random stitched networks. In the same rounds, so that the machine is
in the same state, other random stitched networks are measured whole, each in fresh processes. These
are predicted, and so is every whole donor by what is fitted without it. Afterwards the stitched
networks are measured once more, in rounds of their own: that is what a user meets, whose table is
older than the network. Beside the predictor stand

- `sum`: the plain sum of blocks measured alone, and of stitches as estimated from stitches alone;
- `scaled`: that sum times the mean ratio of whole donors to the sums of their blocks;
- `macs`: proportional to MACs, the factor being the best one for the whole donors.

    python benchmarks/prediction.py [--target cpu:threads=1] [--networks 64] [--quick]
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import fsum
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.machine import machine
from benchmarks.profiled_blocks import parser, told
from benchmarks.result_files import write
from compiler.block_exports import BlockExports
from compiler.cache import Cache
from compiler.chains import exported_network, random_networks
from compiler.compatibility import PairRule
from compiler.donors import Donors
from compiler.network import Blueprint
from compiler.progress import Silent
from compiler.wanted import Wanted
from compiler.zoo import open_zoo
from compiler.zoo_profile import ZooProfile
from profilers.measurement import NORMAL_95, Measurement
from profilers.parts import Chain
from profilers.prediction import LatencyPredictor
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.target import Target, get_target

DONORS = (
    *("mobilenetv2_100", "tf_efficientnet_lite0", "mobilenetv3_large_100", "resnet18"),
    *("regnety_004", "convnext_atto", "ghostnet_100", "repvgg_a0", "fbnetc_100"),
    "deit_tiny_patch16_224",
)
QUICK_DONORS = ("test_resnet", "test_efficientnet")
PROTOCOL = Protocol(max_seconds=0.15)
SEED = 20261125
GOALS = {"median_error": 0.03, "within_10_percent": 0.95}

Network = tuple[str, int, Chain, Measurement]
"""Name, stitches, parts and latency of a network that was measured whole."""


@dataclass(frozen=True, slots=True)
class Case:
    """A network measured whole, and what was predicted of it without knowing it.

    Attributes:
        name: of the network.
        stitches: in it; 0 for a whole donor.
        measured_us: its latency.
        noisy: whether that measurement is labelled noisy.
        predicted_us: by method.
        interval_us: that the predictor states.
    """

    name: str
    stitches: int
    measured_us: float
    noisy: bool
    predicted_us: dict[str, float]
    interval_us: tuple[float, float]

    def error(self, method: str) -> float:
        """By how much a method's prediction exceeds the measurement, as a share of it."""
        return self.predicted_us[method] / self.measured_us - 1.0

    @property
    def covered(self) -> bool:
        """Whether the measurement lies in the stated interval."""
        return self.interval_us[0] <= self.measured_us <= self.interval_us[1]


def main() -> None:
    """Measure, predict, print, and write the result file."""
    options = parser(__doc__, "two small donors")
    options.add_argument("--networks", type=int, default=64, help="stitched ones to predict")
    arguments = options.parse_args()
    target = get_target(arguments.target)
    names, size, count = DONORS, 224, arguments.networks
    if arguments.quick:
        names, size, count = QUICK_DONORS, 64, 6
    with tempfile.TemporaryDirectory() as folder:
        cases, later, predictor = measured(names, size, count, Path(folder), target)
    found = {
        "networks": summary(cases),
        "stitched": summary([case for case in cases if case.stitches]),
        "whole_donors": summary([case for case in cases if not case.stitches]),
        "stitched_measured_later": summary(later),
    }
    print(f"\n{json.dumps(found['networks'], indent=1)}\ngoals: {GOALS}")
    if not arguments.quick:
        content = {
            "machine": machine(target),
            "donors": names,
            "input_size": size,
            "goals": GOALS,
            "summary": found,
            "context": asdict(predictor.context),
            "cases": [asdict(case) for case in cases],
            "cases_measured_later": [asdict(case) for case in later],
        }
        write("prediction", content)


def measured(
    names: Sequence[str], size: int, count: int, folder: Path, target: Target
) -> tuple[list[Case], list[Case], LatencyPredictor]:
    """Measures a profile and networks in one, predicts the networks and whole donors.

    Returns:
        All cases, those of stitched networks measured again later, and the predictor.
    """
    donors = Donors(open_zoo(folder, ",".join(f"random:{name}" for name in names)))
    cache = Cache(folder / "cache")
    exports = BlockExports(donors, cache)
    with CostStore(folder / "costs.sqlite") as store:
        zoo = ZooProfile(exports, cache, target, store, (size,), PROTOCOL)
        wanted = zoo.wanted(Silent())
        networks = drawn(donors, size, count, wanted)
        models = {network: exported_network(network, exports) for network in networks}
        everything = [*zoo.models(wanted), *models.values()]
        print(f"{len(everything)} models to measure, {count} of them to be predicted")
        measure = partial(profile, target=target, store=store, protocol=PROTOCOL, progress=told)
        table = measure(everything)
        again = measure(list(models.values()), fresh=True)
    predictor = zoo.predictor(wanted, table)
    wholes = [
        (f"{name}@{at}", 0, donor.chain, table.cost(donor.whole))
        for (name, at), donor in wanted.donors.items()
    ]
    now, later = (
        [
            (str(network), network.stitches, zoo.parts.chain(network), costs.cost(model))
            for network, model in models.items()
        ]
        for costs in (table, again)
    )
    cases = [*stitched(now, wholes, predictor), *left_out(wholes, predictor)]
    return cases, stitched(later, wholes, predictor), predictor


def drawn(donors: Donors, size: int, count: int, wanted: Wanted) -> list[Blueprint]:
    """Random stitched networks that the profile does not measure."""
    dissections = [donors.dissection(name, size) for name in donors.names]
    more = count + len(wanted.networks)
    found = random_networks(dissections, PairRule(), more, seed=SEED)
    return [network for network in found if network not in wanted.networks][:count]


def stitched(
    unseen: Sequence[Network], wholes: Sequence[Network], predictor: LatencyPredictor
) -> list[Case]:
    """Predictions of networks of which nothing was fitted."""
    cases = []
    for network in unseen:
        own = predictor.predict(network[2])
        cases.append(case(network, wholes, predictor, own.median_us, own.interval_us))
    return cases


def left_out(wholes: Sequence[Network], predictor: LatencyPredictor) -> list[Case]:
    """Predictions of every whole donor by what is fitted to all the others."""
    foretold = {one.name: one for one in predictor.left_out}
    cases = []
    for network in wholes:
        own = foretold[network[0]]
        half = NORMAL_95 * own.error_us
        interval = own.predicted_us - half, own.predicted_us + half
        rest = [other for other in wholes if other is not network]
        cases.append(case(network, rest, predictor, own.predicted_us, interval))
    return cases


def case(
    network: Network,
    wholes: Sequence[Network],
    predictor: LatencyPredictor,
    predicted_us: float,
    interval_us: tuple[float, float],
) -> Case:
    """A network with all predictions; the plain methods are fitted to the whole donors given."""
    name, stitches, chain, cost = network
    alone = plain_sum(chain, predictor)
    sums = [c.median_us / plain_sum(other, predictor) for _, _, other, c in wholes]
    rates = np.array([macs(other) / c.median_us for _, _, other, c in wholes])
    said = {
        "derycc": predicted_us,
        "scaled": alone * float(np.mean(sums)),
        "sum": alone,
        "macs": macs(chain) * float(rates.sum() / (rates @ rates)),
    }
    return Case(name, stitches, cost.median_us, cost.noisy, said, interval_us)


def plain_sum(chain: Chain, predictor: LatencyPredictor) -> float:
    """The sum of the parts measured alone, in microseconds."""
    return fsum(predictor.alone.of(part).median_us for part in chain)


def macs(chain: Chain) -> int:
    """Multiply-accumulates of a network."""
    return sum(part.macs for part in chain)


def summary(cases: Sequence[Case]) -> dict[str, object]:
    """Errors of every method, and how often the stated interval holds."""
    truth = [case.measured_us for case in cases]
    methods = {}
    for method in cases[0].predicted_us:
        errors = np.abs([case.error(method) for case in cases])
        said = [case.predicted_us[method] for case in cases]
        methods[method] = {
            "median_error": float(np.median(errors)),
            "mean_error": float(np.mean(errors)),
            "p95_error": float(np.percentile(errors, 95)),
            "max_error": float(errors.max()),
            "bias": float(np.mean([case.error(method) for case in cases])),
            "within_5_percent": float(np.mean(errors <= 0.05)),
            "within_10_percent": float(np.mean(errors <= 0.10)),
            "rank_correlation": float(spearmanr(said, truth).statistic),
        }
    return {
        "count": len(cases),
        "noisy": sum(case.noisy for case in cases),
        "in_stated_interval": float(np.mean([case.covered for case in cases])),
        "methods": methods,
    }


if __name__ == "__main__":
    main()
