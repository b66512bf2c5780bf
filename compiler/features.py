"""Features: what every boundary of every donor makes of the user's images, pooled and kept.

A donor runs once for every batch, in eval mode, and is tapped at all of its boundaries: before its
first node and behind each. The field compares what is left when positions are averaged out (DeRy:
maps over their grid, tokens over all tokens, class tokens among them), so that networks of
different grids can be compared. Batches go to disk as they come: memory does not grow with the
number of images.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, fx
from torch.fx.node import Argument, map_aggregate

from backends.model import TensorSpec
from compiler.cache import Cache, digest
from compiler.dissection import Cut, Dissection
from compiler.donors import Donors
from compiler.export import TOOLCHAIN
from compiler.feature_store import Features, FeatureStore, StoredFeatures
from compiler.images import ImageSet
from compiler.progress import Progress
from compiler.similarity_table import ModelNodes
from compiler.views import BATCH, Views
from targets.errors import DataError, TargetUnavailableError, UsageError, ZooError


@dataclass(frozen=True, slots=True)
class DonorFeatures:
    """The features of one donor on disk.

    Attributes:
        nodes: the donor's nodes; its boundaries are one more.
        boundaries: (images, channels) of every boundary, in order.
    """

    nodes: ModelNodes
    boundaries: tuple[StoredFeatures, ...]


@dataclass(frozen=True, slots=True)
class ZooFeatures:
    """The features of all donors of a zoo on the same images, in the zoo's order."""

    donors: tuple[DonorFeatures, ...]

    @property
    def boundaries(self) -> tuple[StoredFeatures, ...]:
        """Every boundary's features, those of the first donor first."""
        return tuple(stored for donor in self.donors for stored in donor.boundaries)

    @property
    def names(self) -> tuple[str, ...]:
        """DONOR/NODE for every boundary: the node that it lies behind, `stem` for the first."""
        return tuple(
            f"{donor.nodes.name}/{name}"
            for donor in self.donors
            for name in ("stem", *donor.nodes.nodes)
        )

    @property
    def images(self) -> int:
        """How many images they are of."""
        return len(self.boundaries[0])


def zoo_features(
    donors: Donors,
    images: ImageSet,
    cache: Cache,
    progress: Progress,
    sizes: Mapping[str, int] | None = None,
    device: str = "cpu",
) -> ZooFeatures:
    """The features of every donor; what the cache has not is computed now.

    Args:
        donors: the zoo.
        images: what they look at, each through its own preprocessing, centre crop.
        cache: kept by donor (weights, architecture, preprocessing), images, input size, boundary
            and versions of torch and timm; resumed at the batch where an earlier run ended.
        progress: told about every donor that has to run.
        sizes: input sizes in pixels by donor; a donor's own where it is not named.
        device: "cpu", "cuda" or "cuda:N", where donors run.

    Raises:
        UnknownNameError: `sizes` names no donor of this zoo.
        UsageError: no such device.
        TargetUnavailableError: a GPU was asked for and there is none.
        DataError: there are no images.
        ZooError: a donor cannot be cut, or computes numbers that are not finite.
    """
    if not len(images):
        raise DataError("Features of no images: give some photographs with --data.")
    where = parse_device(device)
    return ZooFeatures(
        tuple(
            donor_features(donors, name, size, images, cache, progress, where)
            for name, size in input_sizes(donors, sizes).items()
        )
    )


def input_sizes(donors: Donors, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """The input size of every donor in pixels: as asked for, else its own."""
    asked = {donors.model(name).name: size for name, size in (sizes or {}).items()}
    own = {name: donors.model(name).preprocessing.input_size for name in donors.names}
    return own | asked


def donor_nodes(dissection: Dissection) -> ModelNodes:
    """A donor's nodes as similarity tables and partitions count them."""
    nodes = dissection.nodes
    names, params = tuple(n.name for n in nodes), tuple(n.params for n in nodes)
    return ModelNodes(dissection.name, names, params)


def donor_features(
    donors: Donors,
    name: str,
    size: int,
    images: ImageSet,
    cache: Cache,
    progress: Progress,
    device: torch.device,
) -> DonorFeatures:
    """The features of one donor at one input size; what the cache has not is computed now."""
    dissection = donors.dissection(name, size)
    key = digest(donors.model(name).identity, images.digest, size, TOOLCHAIN)
    widths = [(f"{cut.name}.{cut.position}", channels_of(cut)) for cut in dissection.boundaries]
    store = FeatureStore(cache.path("features", key), widths, len(images), BATCH)
    missing = store.missing()
    if missing:
        taps = BoundaryTaps(dissection, device)
        progress.start(f"features of {name} at {size} px", len(images))
        for batch in missing:
            rows = store.rows(batch)
            progress.update(rows.start)
            (pixels,) = Views(images.subset(rows), donors.preprocessing(name, size))
            store.write(batch, taps(donors.preprocessing(name, size).normalize(pixels)))
        progress.finish(f"features of {name} at {len(widths)} boundaries")
    return DonorFeatures(donor_nodes(dissection), store.features)


class BoundaryTaps:
    """A donor that gives the pooled activations of all its boundaries in one run.

    On the CPU it shares the donor's parameters; elsewhere it has copies of them, and the donor
    stays where it is.
    """

    def __init__(self, dissection: Dissection, device: torch.device) -> None:
        """Cut the donor at its boundaries, ready to run on a device."""
        self._name = dissection.name
        self._device = device
        self._cuts = dissection.boundaries
        stops = (dissection.cuts[0], *self._cuts)
        self._segments = tuple(
            on_device(dissection.module(start, end).eval(), device)
            if start.position < end.position
            else None  # the first node begins at the input
            for start, end in pairwise(stops)
        )

    def __call__(self, batch: Tensor) -> list[Features]:
        """Pooled activations (N, channels) of every boundary, for a normalized (N, 3, S, S)."""
        found = []
        with torch.no_grad(), _whole_float32(self._device):
            x = batch.to(self._device)
            for cut, segment in zip(self._cuts, self._segments, strict=True):
                x = x if segment is None else segment(x)
                found.append(self._rows(cut, pooled(x, cut.tensor, len(batch))))
        return found

    def _rows(self, cut: Cut, pooled: Tensor) -> Features:
        rows: Features = pooled.float().cpu().numpy()
        if not bool(torch.isfinite(pooled).all()):
            raise ZooError(
                f"{self._name} computes numbers that are not finite at '{cut.name}' for some of "
                "these images. Leave this donor out, or look whether its weights are damaged."
            )
        return rows


def pooled(activation: Tensor, spec: TensorSpec, images: int) -> Tensor:
    """The mean over all positions: (images, channels).

    Args:
        activation: what crosses a boundary, for a batch. Where windows multiply the batch, those
            of an image follow each other.
        spec: the same for a batch of 1; its layout tells the channels (NCHW, NHWC, NLC, NC). Where
            it does not, they are the last dimension, as transformers have it.
        images: the size of the batch.
    """
    pairs = zip(activation.shape, spec.shape, strict=True)
    candidates = [(of, d) for d, (size, of) in enumerate(pairs) if size == images * of]
    batch = min(candidates)[1]
    channels = _channel_dimension(spec)
    rows = activation.movedim((batch, channels), (0, -1))
    return rows.reshape(images, -1, rows.shape[-1]).mean(1)


def channels_of(cut: Cut) -> int:
    """How many numbers `pooled` leaves of what crosses a cut."""
    return cut.tensor.shape[_channel_dimension(cut.tensor)]


def on_device(module: fx.GraphModule, device: torch.device) -> fx.GraphModule:
    """The module for a device: itself on the CPU, else a copy, with no tensor left behind.

    Exported graphs name the device of the tensors that they make (positions, masks).
    """
    if device.type == "cpu":
        return module
    moved = copy.deepcopy(module).to(device)

    def named_anew(argument: Argument) -> Argument:
        return device if isinstance(argument, torch.device) else argument

    for node in moved.graph.nodes:
        node.args = map_aggregate(node.args, named_anew)
        node.kwargs = map_aggregate(node.kwargs, named_anew)
    moved.recompile()
    return moved


def parse_device(text: str) -> torch.device:
    """A device to run donors on: "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: the text names no such device.
        TargetUnavailableError: a GPU was asked for and there is none.
    """
    kind, _, number = text.partition(":")
    if kind not in ("cpu", "cuda") or (":" in text and not number.isdecimal()):
        raise UsageError(f"Device {text!r} is not known. Use cpu, cuda or cuda:N.")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise TargetUnavailableError(
            f"Donors cannot run on {text!r}: torch sees {torch.cuda.device_count()} CUDA devices "
            "here. Use cpu, or install a CUDA build of torch and its driver."
        )
    return torch.device(text)


def _channel_dimension(spec: TensorSpec) -> int:
    where = spec.layout.find("C")
    return where if where >= 0 else len(spec.shape) - 1


@contextmanager
def _whole_float32(device: torch.device) -> Iterator[None]:
    """On a GPU convolutions would round to 10 bits; then cached features depended on the device."""
    if device.type == "cpu":
        yield
        return
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        yield
