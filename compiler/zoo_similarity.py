"""Similarity of a zoo: all pairs of boundaries of all donors, from features on disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
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
"""Samples of a batch in DeRy."""

_DTYPE = np.dtype("<f8")
_GRAMS = {"linear_cka": linear_gram, "rbf_cka": rbf_gram_of()}


@dataclass(frozen=True, slots=True)
class Method:
    """How boundaries are compared.

    Attributes:
        measure: "linear_cka"; "rbf_cka" with the median bandwidth of every batch; or
            "linear_regression", the mean of both directions, since a table is symmetric.
        unbiased: the estimator of CKA; nothing to "linear_regression".
        batch: most samples whose Gram matrices are compared at once.
        average: "hsic": CKA of the average HSIC of the batches; "cka": the average of the batches'
            CKA, as DeRy's code has it.
    """

    measure: str = "linear_cka"
    unbiased: bool = True
    batch: int = BATCH
    average: Average = "hsic"

    def __post_init__(self) -> None:
        """Refuse measures that are none, and batches too small for them."""
        if self.measure not in MEASURES:
            raise UnknownNameError("measure of similarity", self.measure, MEASURES)
        if self.batch < 2 * self.least:
            raise UsageError(
                f"{self._name} in batches of {self.batch}: it needs batches of at least "
                f"{2 * self.least} images. Take larger ones."
            )

    @property
    def least(self) -> int:
        """The fewest images it can do with; regression needs more than there are channels."""
        return least_samples(self.unbiased and self.measure != "linear_regression")

    @property
    def key(self) -> tuple[object, ...]:
        """What its values depend on."""
        if self.measure == "linear_regression":
            return (self.measure,)
        return self.measure, self.unbiased, self.batch, self.average

    def check(self, images: int) -> None:
        """Refuse too few images, before donors run for nothing."""
        if images < self.least:
            raise UsageError(
                f"{self._name} of {images} images: it needs at least {self.least}. Give more "
                "photographs with --data."
            )

    def parts(self, images: int) -> list[tuple[int, int]]:
        """First and behind-last image of as few batches as possible, as equal as possible."""
        count = -(-images // self.batch)
        return list(pairwise(number * images // count for number in range(count + 1)))

    @property
    def _name(self) -> str:
        return f"unbiased {self.measure}" if self.least == least_samples(True) else self.measure


def similarity_table(
    features: ZooFeatures,
    progress: Progress,
    method: Method = Method(),
    memory: int = MEMORY,
) -> SimilarityTable:
    """Similarities of all pairs of boundaries.

    Up to `method.batch` images, CKA is that of all images; beyond, batches of equal size (but for
    one image) are averaged, none left out. Memory grows neither with the number of images nor,
    beyond `memory`, with that of boundaries.

    Args:
        features: of all donors on the same images.
        progress: told about the work.
        method: measure and estimator.
        memory: bytes of Gram rows that are held at once.

    Raises:
        UsageError: too few images for the method, or a boundary whose features do not vary.
    """
    method.check(features.images)
    total = len(features.names)
    if method.measure == "linear_regression":
        progress.start(f"regressing {total} boundaries on each other", total)
        one_way = regression_table(features.boundaries, features.names, progress=progress.update)
        values: Float = (one_way + one_way.T) / 2
    else:
        progress.start(f"comparing {total} boundaries", features.images)
        values = _cka(features, progress, method, memory)
    progress.finish(f"{method.measure} of all pairs of {total} boundaries")
    return SimilarityTable(tuple(d.nodes for d in features.donors), values, method.measure)


def _cka(features: ZooFeatures, progress: Progress, method: Method, memory: int) -> Float:
    gram = _GRAMS[method.measure]
    table = HsicTable(features.names, method.unbiased, gram, method.average, memory)
    for first, last in method.parts(features.images):
        parts = [stored.part(first, last) for stored in features.boundaries]
        table.add(parts, partial(_advance, progress, first))
    return table.cka


def _advance(progress: Progress, before: int, done: int) -> None:
    progress.update(before + done)


def zoo_nodes(
    donors: Donors, cache: Cache, progress: Progress, sizes: Mapping[str, int] | None = None
) -> tuple[ModelNodes, ...]:
    """The nodes of every donor: the models of `zoo_similarity`'s table, before it is made.

    Args:
        donors: the zoo.
        cache: of nodes; a donor whose nodes are there is not loaded.
        progress: told about the work.
        sizes: input sizes in pixels by donor; a donor's own where it is not named.

    Raises:
        UnknownNameError: `sizes` names no donor.
        ZooError: a donor cannot be cut.
    """
    chosen = input_sizes(donors, sizes)
    return tuple(_nodes(donors, name, size, cache, progress) for name, size in chosen.items())


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
        measure: as in `Method`.
        unbiased: the estimator of CKA.
        sizes: input sizes in pixels by donor; a donor's own where it is not named.
        device: "cpu", "cuda" or "cuda:N", where donors run.

    Raises:
        UnknownNameError: no such measure, or `sizes` names no donor.
        UsageError: too few images, no such device, a boundary that is alike for all images.
        TargetUnavailableError: a GPU was asked for and there is none.
        ZooError: a donor cannot be cut, or computes numbers that are not finite.
    """
    method = Method(measure, unbiased)
    method.check(len(images))
    parse_device(device)
    chosen = input_sizes(donors, sizes)
    models = zoo_nodes(donors, cache, progress, sizes)

    def make() -> Float:
        return _made(donors, images, cache, progress, method, chosen, device)

    identities = [(donors.model(name).identity, size) for name, size in chosen.items()]
    key = digest(identities, models, images.digest, method.key, TOOLCHAIN)
    return SimilarityTable(models, _kept(cache, key, models, make), measure)


def _made(
    donors: Donors,
    images: ImageSet,
    cache: Cache,
    progress: Progress,
    method: Method,
    sizes: Mapping[str, int],
    device: str,
) -> Float:
    if method.measure == "linear_regression":
        _check_channels(donors, sizes, len(images))
    features = zoo_features(donors, images, cache, progress, sizes, device)
    return similarity_table(features, progress, method).values


def _nodes(donors: Donors, name: str, size: int, cache: Cache, progress: Progress) -> ModelNodes:
    """A donor's nodes, without cutting it again where they are known."""

    def make() -> dict[str, list[object]]:
        progress.start(f"cutting {name} at {size} px", None)
        found = donor_nodes(donors.dissection(name, size))
        progress.finish(f"{len(found)} nodes in {name}")
        return {"nodes": [*found.nodes], "params": [*found.params]}

    kept = cache.json("nodes", digest(donors.model(name).identity, size, TOOLCHAIN), make)
    return ModelNodes(name, tuple(kept["nodes"]), tuple(kept["params"]))


def _kept(cache: Cache, key: str, models: Sequence[ModelNodes], make: Callable[[], Float]) -> Float:
    """The cached table of these models; one that is not there, or not whole, is made."""
    path = cache.path("similarity", key).with_suffix(".npy")
    total = sum(len(model) + 1 for model in models)
    header = npy_header((total, total), _DTYPE)
    content = path.read_bytes() if path.exists() else b""
    if content.startswith(header) and len(content) == len(header) + total**2 * _DTYPE.itemsize:
        return np.frombuffer(content, _DTYPE, offset=len(header)).reshape(total, total).copy()
    made = make()
    write_atomic(path, header + made.astype(_DTYPE).tobytes())
    return made


def _check_channels(donors: Donors, sizes: Mapping[str, int], images: int) -> None:
    dissections = [donors.dissection(name, size) for name, size in sizes.items()]
    channels = {
        f"{dissection.name}/{cut.name}": channels_of(cut)
        for dissection in dissections
        for cut in dissection.boundaries
    }
    check_samples(images, [*channels.values()], [*channels])
