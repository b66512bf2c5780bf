"""Similarity of a zoo: all pairs of boundaries of all donors, from features on disk."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from compiler.cache import Cache, digest, write_atomic
from compiler.donors import Donors
from compiler.export import TOOLCHAIN
from compiler.feature_store import npy_header
from compiler.features import (
    ZooFeatures,
    channels_of,
    donor_nodes,
    input_sizes,
    parse_device,
    zoo_features,
)
from compiler.gram import Float, least_samples, linear_gram
from compiler.hsic import MEMORY, Average, HsicTable
from compiler.images import ImageSet
from compiler.progress import Progress
from compiler.regression import check_samples, regression_table
from compiler.similarity import rbf_gram_of
from compiler.similarity_table import ModelNodes, SimilarityTable
from targets.errors import UnknownNameError, UsageError

Measure = Literal["linear_cka", "rbf_cka", "linear_regression"]
MEASURES: tuple[str, ...] = get_args(Measure)
BATCH = 2048
"""Samples whose Gram matrices are compared at once, as in DeRy."""

_DTYPE = np.dtype("<f8")
_GRAMS = {"linear_cka": linear_gram, "rbf_cka": rbf_gram_of()}


def similarity_table(
    features: ZooFeatures,
    progress: Progress,
    measure: str = "linear_cka",
    unbiased: bool = True,
    batch: int = BATCH,
    average: Average = "hsic",
    memory: int = MEMORY,
) -> SimilarityTable:
    """Similarities of all pairs of boundaries.

    Up to `batch` images, CKA is that of all images; beyond, HSIC is averaged over batches of equal
    size (but for one image), none left out. Memory grows neither with the number of images nor,
    beyond `memory`, with that of boundaries.

    Args:
        features: of all donors on the same images.
        progress: told about the work.
        measure: "linear_cka"; "rbf_cka" with the median bandwidth of every batch; or
            "linear_regression", the mean of both directions, which has to be symmetric here.
        unbiased: the estimator of CKA; nothing to "linear_regression".
        batch: most samples of a batch.
        average: "hsic", or "cka" for the average of the batches' CKA as in DeRy's code.
        memory: bytes of Gram rows that are held at once.

    Raises:
        UnknownNameError: no such measure.
        UsageError: too few images for it (CKA: 2; unbiased: 4; regression: more than channels), a
            batch of fewer, or a boundary whose features do not vary.
    """
    _check_measure(measure)
    _check_images(features.images, measure, unbiased, batch)
    total = len(features.names)
    if measure == "linear_regression":
        progress.start(f"regressing {total} boundaries on each other", total)
        one_way = regression_table(features.boundaries, features.names, progress=progress.update)
        values: Float = (one_way + one_way.T) / 2
    else:
        progress.start(f"comparing {total} boundaries", features.images)
        table = HsicTable(features.names, unbiased, _GRAMS[measure], average, memory)
        for first, last in _batches(features.images, batch):
            parts = [stored.part(first, last) for stored in features.boundaries]
            table.add(parts, partial(_advance, progress, first))
        values = table.cka
    progress.finish(f"{measure} of all pairs of {total} boundaries")
    return SimilarityTable(tuple(d.nodes for d in features.donors), values, measure)


def zoo_similarity(
    donors: Donors,
    images: ImageSet,
    cache: Cache,
    progress: Progress,
    measure: str = "linear_cka",
    unbiased: bool = True,
    sizes: Mapping[str, int] | None = None,
    device: str = "cpu",
) -> SimilarityTable:
    """Similarities of all pairs of boundaries of a zoo on the user's images, made once and kept.

    Args:
        donors: the zoo.
        images: what they look at.
        cache: of features and tables; a table that is there is read without loading a donor.
        progress: told about the work.
        measure: as `similarity_table`.
        unbiased: the estimator of CKA.
        sizes: input sizes in pixels by donor; a donor's own where it is not named.
        device: "cpu", "cuda" or "cuda:N", where donors run.

    Raises:
        UnknownNameError: no such measure, or `sizes` names no donor.
        UsageError: too few images, no such device, a boundary that is alike for all images.
        TargetUnavailableError: a GPU was asked for and there is none.
        ZooError: a donor cannot be cut, or computes numbers that are not finite.
    """
    _check_measure(measure)
    _check_images(len(images), measure, unbiased, BATCH)
    parse_device(device)
    chosen = input_sizes(donors, sizes)
    models = tuple(_nodes(donors, name, size, cache) for name, size in chosen.items())
    identities = [(donors.model(name).identity, size) for name, size in chosen.items()]
    estimator = None if measure == "linear_regression" else (unbiased, BATCH)
    key = digest(identities, models, images.digest, measure, estimator, TOOLCHAIN)

    def make() -> Float:
        if measure == "linear_regression":
            _check_channels(donors, chosen, len(images))
        features = zoo_features(donors, images, cache, progress, sizes, device)
        return similarity_table(features, progress, measure, unbiased).values

    total = sum(len(model) + 1 for model in models)
    values = _kept(cache.path("similarity", key).with_suffix(".npy"), (total, total), make)
    return SimilarityTable(models, values, measure)


def _nodes(donors: Donors, name: str, size: int, cache: Cache) -> ModelNodes:
    """A donor's nodes, without cutting it again where they are known."""

    def make() -> dict[str, list[object]]:
        found = donor_nodes(donors.dissection(name, size))
        return {"nodes": [*found.nodes], "params": [*found.params]}

    kept = cache.json("nodes", digest(donors.model(name).identity, size, TOOLCHAIN), make)
    return ModelNodes(name, tuple(kept["nodes"]), tuple(kept["params"]))


def _kept(path: Path, shape: tuple[int, int], make: Callable[[], Float]) -> Float:
    """The array in a .npy file; one that is not there, damaged or of another shape is made."""
    header = npy_header(shape, _DTYPE)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    if content.startswith(header) and len(content) == len(header) + 8 * shape[0] * shape[1]:
        return np.frombuffer(content, _DTYPE, offset=len(header)).reshape(shape).copy()
    made = make()
    write_atomic(path, header + made.astype(_DTYPE).tobytes())
    return made


def _advance(progress: Progress, before: int, done: int) -> None:
    progress.update(before + done)


def _batches(images: int, most: int) -> list[tuple[int, int]]:
    """First and behind-last image of as few batches as possible, as equal as possible."""
    count = -(-images // most)
    return list(pairwise(number * images // count for number in range(count + 1)))


def _check_channels(donors: Donors, sizes: Mapping[str, int], images: int) -> None:
    dissections = [donors.dissection(name, size) for name, size in sizes.items()]
    channels = {
        f"{dissection.name}/{cut.name}": channels_of(cut)
        for dissection in dissections
        for cut in dissection.boundaries
    }
    check_samples(images, [*channels.values()], [*channels])


def _check_measure(measure: str) -> None:
    if measure not in MEASURES:
        raise UnknownNameError("measure of similarity", measure, MEASURES)


def _check_images(images: int, measure: str, unbiased: bool, batch: int) -> None:
    """Before donors run for nothing."""
    least = least_samples(unbiased) if measure != "linear_regression" else 2
    if images < least or batch < 2 * least:
        kind = "unbiased " if unbiased and least == 4 else ""
        raise UsageError(
            f"{kind}{measure} of {images} images in batches of {batch}: it needs at least {least} "
            f"images, and batches of at least {2 * least}. Give more photographs with --data."
        )
