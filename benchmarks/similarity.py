"""The table of all pairs of a zoo's boundaries against the published pairwise procedure.

DeRy takes the boundaries of a zoo two by two: for every pair and every batch of 2,048 samples it
makes both Gram matrices, centres them, and divides their inner product by their norms; the batches'
values are averaged. derycc makes every Gram matrix once and multiplies all of them at once. Both
read the same features (float32, from disk), compute in float64 with the same number of threads in
the same run, take turns, and must come to the same numbers.

What is left out of the published code, in its favour: the test of every Gram matrix for symmetry.
Every pair of the real zoo is timed. In the large synthetic zoo that would take hours: there the
pairwise time is that of a random sample of pairs, multiplied (`pairs_timed` of `pairs`), and
numbers are compared on that sample.

    python benchmarks/similarity.py [--images 512] [--repeats 3] [--smoke]
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.result_files import write
from compiler.cache import Cache
from compiler.donors import Donors
from compiler.feature_store import FeatureStore, StoredFeatures
from compiler.features import DonorFeatures, ZooFeatures, zoo_features
from compiler.images import load_images
from compiler.progress import Silent
from compiler.similarity_table import ModelNodes
from compiler.zoo import open_zoo
from compiler.zoo_similarity import Method, similarity_table
from derycc.console import Bars
from derycc.options import default_home

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
IMAGES = SHARED / "images" / "imagenette_train3000_160px.zip"
BATCH = 2048
WIDTHS = (64,) * 4 + (128,) * 4 + (256,) * 6 + (512,) * 3
TIMED_PAIRS = 200

Pair = tuple[int, int]
Answer = TypeVar("Answer")


def main() -> None:
    """Run the comparisons, print them, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="a small zoo; writes nothing")
    arguments = parser.parse_args()
    found = []
    real = None if arguments.smoke else _real(arguments.images)
    if real is not None:
        found.append(_compare("demo and shared zoo", real, arguments.repeats))
    models, samples = (3, 300) if arguments.smoke else (20, BATCH)
    with tempfile.TemporaryDirectory() as folder:
        synthetic = _synthetic(Path(folder), models, samples)
        name = f"synthetic zoo of {models} models"
        found.append(_compare(name, synthetic, arguments.repeats, TIMED_PAIRS))
    if not arguments.smoke:
        write("similarity", {"machine": _machine(), "cases": found})


class Turns:
    """Seconds of every run of one side, and the memory it held above what was there before."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._peaks: list[int] = []

    def run(self, work: Callable[[], Answer]) -> Answer:
        """Do the work, timed."""
        before = _reset_peak()
        start = time.perf_counter()
        answer = work()
        self.seconds.append(time.perf_counter() - start)
        peak = _memory("VmHWM")
        if before is not None and peak is not None:
            self._peaks.append(peak - before)
        return answer

    def data(self, times: float) -> dict[str, object]:
        """For the result file; seconds are multiplied."""
        return {
            "median_s": times * median(self.seconds),
            "interval_s": [times * min(self.seconds), times * max(self.seconds)],
            "peak_mb": round(max(self._peaks) / 1e6, 1) if self._peaks else None,
        }


def _compare(
    name: str, zoo: ZooFeatures, repeats: int, most: int | None = None
) -> dict[str, object]:
    """Time both in turns on the same features, and compare their numbers."""
    pairs = _published_pairs(zoo)
    timed = pairs if most is None or len(pairs) <= most else random.Random(0).sample(pairs, most)
    times = len(pairs) / len(timed)
    all_pairs, pairwise = Turns(), Turns()
    differences = []
    for _ in range(repeats):
        table = all_pairs.run(lambda: _ours(zoo))
        values = pairwise.run(lambda: _published(zoo, timed))
        differences += [abs(table[at] - value) for at, value in zip(timed, values, strict=True)]
    ratios = [times * b / a for a, b in zip(all_pairs.seconds, pairwise.seconds, strict=True)]
    found = {
        "zoo": name,
        "boundaries": len(zoo.names),
        "samples": zoo.images,
        "channels": sum(stored.channels for stored in zoo.boundaries),
        "pairs": len(pairs),
        "pairs_timed": len(timed),
        "all_pairs": all_pairs.data(1),
        "published_pairwise": pairwise.data(times),
        "times_faster": {"median": median(ratios), "interval": [min(ratios), max(ratios)]},
        "max_abs_difference": float(max(differences)),
    }
    print(json.dumps(found, indent=1))
    return found


def _ours(zoo: ZooFeatures) -> np.ndarray:
    """The published estimator, biased and averaged over batches, for all pairs at once."""
    method = Method(unbiased=False, batch=BATCH, average="cka")
    return similarity_table(zoo, Silent(), method).values


def _published(zoo: ZooFeatures, pairs: Sequence[Pair]) -> list[float]:
    """One pair after the other, batch by batch."""
    boundaries = zoo.boundaries
    return [_published_pair(boundaries[i], boundaries[j]) for i, j in pairs]


def _published_pair(first: StoredFeatures, second: StoredFeatures) -> float:
    values = []
    for start in range(0, len(first), BATCH):
        x, y = (
            torch.from_numpy(stored[start : start + BATCH]).double() for stored in (first, second)
        )
        k, m = _centred(x @ x.T), _centred(y @ y.T)
        values.append(float((k.view(-1) * m.view(-1)).sum() / (torch.norm(k) * torch.norm(m))))
    return sum(values) / len(values)


def _centred(gram: Tensor) -> Tensor:
    means = gram.mean(0)
    means -= means.mean() / 2
    gram -= means[:, None]
    gram -= means[None, :]
    return gram


def _published_pairs(zoo: ZooFeatures) -> list[Pair]:
    """Every two models once and every model with itself; in them, every boundary with every."""
    edges = np.cumsum([0, *(len(donor.boundaries) for donor in zoo.donors)])
    spans = [range(a, b) for a, b in pairwise(edges)]
    both = [*combinations(spans, 2), *((span, span) for span in spans)]
    return [(i, j) for rows, columns in both for i in rows for j in columns]


def _reset_peak() -> int | None:
    """Let Linux count the highest memory of this process anew; what it holds now, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _memory("VmRSS")


def _memory(field: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(s.split()[1]) * 1024 for s in lines if s.startswith(f"{field}:")), None)


def _real(images: int) -> ZooFeatures | None:
    """Features of the demo donors and, where they are there, of the shared ones."""
    if not IMAGES.exists():
        print(f"no real features: the images are not there ({IMAGES.name})")
        return None
    home, shared = default_home(), SHARED / "zoo"
    zoo = open_zoo(home, f"demo,{shared}" if shared.exists() else "demo", Bars())
    pictures = load_images(IMAGES)
    chosen = sorted(random.Random(0).sample(range(len(pictures)), min(images, len(pictures))))
    return zoo_features(Donors(zoo), pictures.subset(chosen), Cache(home / "cache"), Bars())


def _synthetic(folder: Path, models: int, samples: int) -> ZooFeatures:
    """Models whose boundaries see the same 40 hidden features, mixed and with noise."""
    chance = np.random.default_rng(0)
    hidden = chance.normal(size=(samples, 40)).astype(np.float32)
    donors = []
    for model in range(models):
        names = [f"block{number}" for number in range(len(WIDTHS))]
        store = FeatureStore(
            folder / str(model), list(zip(names, WIDTHS, strict=True)), samples, samples
        )
        mixed = [hidden @ chance.normal(size=(40, width)).astype(np.float32) for width in WIDTHS]
        noise = [3 * chance.normal(size=rows.shape).astype(np.float32) for rows in mixed]
        store.write(0, [a + b for a, b in zip(mixed, noise, strict=True)])
        nodes = ModelNodes(f"model{model}", tuple(names[1:]), (1,) * (len(names) - 1))
        donors.append(DonorFeatures(nodes, store.features))
    return ZooFeatures(tuple(donors))


def _machine() -> dict[str, object]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("numpy", "torch", "timm")},
    }


if __name__ == "__main__":
    main()
