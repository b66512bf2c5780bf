"""What is profiled: every donor's blocks and whole networks, and the stitches between them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from backends.model import ExportedModel
from backends.quantization import Scheme, quantize, versions
from compiler.cache import Cache, digest
from compiler.compatibility import Rule
from compiler.dissection import Block, Cut
from compiler.donors import Donors
from compiler.export import GRAPHS, TOOLCHAIN, ExportedDonor, export
from compiler.precisions import FLOAT, INT8
from compiler.stitching import Stitch, StitchShape
from profilers.spread import spread
from targets.errors import UnknownNameError, UsageError

STITCH_SAMPLES = 24
_BIAS = 0.01  # of a stitch that is measured alone: no zeros, which a fold could take advantage of
PRECISIONS = (FLOAT, INT8)
NOISE_GRIDS = (7, 14, 28, 56)
"""Sides, in pixels, of the random grids that stand for images where there are none."""

Activation = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Structures:
    """Content hashes of a donor's exported blocks at one size, weights ignored.

    Attributes:
        blocks: by block name, in order.
        whole: of the uncut donor; None where it cannot be had in this precision.
        refused: why a block cannot be had in this precision, by its name.
    """

    blocks: Mapping[str, str]
    whole: str | None
    refused: Mapping[str, str] = field(default_factory=dict)


class BlockExports:
    """Exports blocks on demand; remembers each one's structure so that it need not do so again."""

    def __init__(
        self,
        donors: Donors,
        cache: Cache,
        images: Sequence[torch.Tensor] = (),
        scheme: Scheme | None = None,
    ) -> None:
        """Takes what is exported and how.

        Args:
            donors: the zoo's models.
            cache: where structures are remembered.
            images: real images (1, 3, H, W) in [0, 1] whose activations calibrate int8 variants;
                none: smooth noise, which is enough to measure a latency and no accuracy.
            scheme: how int8 variants are made; None: as this machine runs them fastest.
        """
        self.donors = donors
        self._cache = cache
        self._images = images
        self._scheme = scheme or Scheme.native()
        self._donors: dict[tuple[str, int], ExportedDonor] = {}
        self._stitches: dict[StitchShape, ExportedModel] = {}
        self._arriving: dict[tuple[str, int], list[Mapping[str, Activation]]] = {}

    def structures(self, model: str, size: int, precision: str = FLOAT) -> Structures:
        """The structure hashes of a donor's blocks, exporting them if nobody has before.

        Raises:
            UnknownNameError: the precision is neither `fp32` nor `int8`.
        """
        if precision not in PRECISIONS:
            raise UnknownNameError("precision", precision, PRECISIONS)
        int8 = precision == INT8

        def make() -> dict[str, object]:
            blocks = self.donors.dissection(model, size).blocks
            if not int8:
                found = {part.name: self.block(part).structure for part in blocks}
                return {"blocks": found, "whole": self.whole(model, size).structure}
            makers = {part.name: partial(self.quantized, part) for part in blocks}
            found, refused = _structures(makers)
            whole, _ = _structures({"whole": partial(self.quantized_whole, model, size)})
            return {"blocks": found, "whole": whole.get("whole"), "refused": refused}

        how = (precision, self._scheme, versions()) if int8 else ()
        key = digest(self.donors.model(model).identity, size, GRAPHS, *how)
        value = self._cache.json("structures", key, make)
        return Structures(dict(value["blocks"]), value["whole"], value.get("refused", {}))

    def block(self, block: Block) -> ExportedModel:
        """One block as ONNX, batch 1."""
        return self._exported(block.model, block.size).run(block.start, block.end, block.name)

    def run(self, model: str, size: int, start: Cut, end: Cut, name: str) -> ExportedModel:
        """Any run of blocks of a donor as ONNX, batch 1."""
        return self._exported(model, size).run(start, end, name)

    def whole(self, model: str, size: int) -> ExportedModel:
        """The uncut donor as ONNX, batch 1."""
        cuts = self.donors.dissection(model, size).cuts
        return self._exported(model, size).run(cuts[0], cuts[-1], f"{model}@{size}")

    def marked(self, model: str, size: int) -> ExportedModel:
        """The uncut donor with the tensor at every cut as an output, named by `mark`."""
        return self._exported(model, size).marked()

    def mark(self, model: str, size: int, cut: Cut) -> str:
        """The name of a cut's tensor in `marked`."""
        return self._exported(model, size).mark(cut)

    def quantized(self, block: Block) -> ExportedModel:
        """One block in int8, calibrated by what arrives at it for the images; edges are float.

        Raises:
            UsageError: it cannot be quantized.
        """
        return self._quantized(self.block(block), block.model, block.size)

    def quantized_whole(self, model: str, size: int) -> ExportedModel:
        """The uncut donor in int8, calibrated by the images; input and output are float.

        Raises:
            UsageError: it cannot be quantized.
        """
        return self._quantized(self.whole(model, size), model, size)

    def _quantized(self, exported: ExportedModel, model: str, size: int) -> ExportedModel:
        (spec,) = exported.inputs
        found = self._calibration(model, size)
        samples = [{spec.name: arriving[exported.name]} for arriving in found]
        return quantize(exported, samples, self._scheme)

    def _calibration(self, model: str, size: int) -> list[Mapping[str, Activation]]:
        """Activations of every image; those of the last donor only are kept."""
        if (model, size) not in self._arriving:
            images = self._images or noise_images(size)
            pixels = [_resized(image, size) for image in images]
            found = [self.activations(model, size, image) for image in pixels]
            self._arriving = {(model, size): found}
        return self._arriving[model, size]

    def _exported(self, model: str, size: int) -> ExportedDonor:
        if (model, size) not in self._donors:
            self._donors[model, size] = ExportedDonor(self.donors.dissection(model, size))
        return self._donors[model, size]

    def stitch(self, shape: StitchShape) -> ExportedModel:
        """A stitch of this shape, with seeded weights of a sensible scale."""
        if shape not in self._stitches:
            self._stitches[shape] = _export_stitch(shape)
        return self._stitches[shape]

    def stitch_structure(self, shape: StitchShape) -> str:
        """The structure hash of a stitch of this shape."""
        key = digest(str(shape), _BIAS, TOOLCHAIN)
        made = self._cache.json("structures", key, lambda: self.stitch(shape).structure)
        return str(made)

    @torch.no_grad()
    def activations(self, model: str, size: int, image: torch.Tensor) -> Mapping[str, Activation]:
        """What arrives at every block for one real image (1, 3, S, S) in [0, 1], by block name."""
        dissection = self.donors.dissection(model, size)
        x = self.donors.preprocessing(model, size).normalize(image)
        found = {f"{model}@{size}": x.numpy()}
        for block in dissection.blocks:
            found[block.name] = x.numpy().copy()
            x = dissection.module(block.start, block.end)(x)
        return found


def _structures(
    makers: Mapping[str, Callable[[], ExportedModel]],
) -> tuple[dict[str, str], dict[str, str]]:
    """The structures of what can be made, and why the rest cannot, by name."""
    found, refused = {}, {}
    for name, make in makers.items():
        try:
            found[name] = make().structure
        except UsageError as error:
            refused[name] = str(error)
    return found, refused


def noise_images(size: int) -> tuple[torch.Tensor, ...]:
    """Seeded images (1, 3, size, size) in [0, 1]: random grids, coarse to fine, made smooth."""
    generator = torch.Generator().manual_seed(0)
    grids = [torch.rand(1, 3, side, side, generator=generator) for side in NOISE_GRIDS]
    return tuple(_resized(grid, size) for grid in grids)


def _resized(image: torch.Tensor, size: int) -> torch.Tensor:
    return torch.nn.functional.interpolate(image, (size, size), mode="bilinear")


def _export_stitch(shape: StitchShape) -> ExportedModel:
    generator = torch.Generator().manual_seed(0)
    stitch = Stitch(shape)
    weight = torch.randn(shape.target[0], shape.source[0], generator=generator)
    stitch.load(weight / shape.source[0] ** 0.5, torch.full((shape.target[0],), _BIAS))
    return export(stitch, shape.input_spec, f"stitch {shape}")


def stitch_shapes(donors: Donors, sizes: tuple[int, ...], rule: Rule) -> tuple[StitchShape, ...]:
    """Every stitch shape that an assembly could use, cheapest first."""
    shapes = set()
    for size in sizes:
        dissections = [donors.dissection(name, size) for name in donors.names]
        for left in dissections:
            for right in dissections:
                shapes |= {
                    StitchShape.between(source, target)
                    for source in left.cuts
                    for target in right.cuts
                    if rule.offers(left.name, source, right.name, target)
                }
    return tuple(sorted(shapes, key=lambda s: (s.macs, str(s))))


def sample(shapes: tuple[StitchShape, ...], count: int = STITCH_SAMPLES) -> tuple[StitchShape, ...]:
    """Evenly spread over the order of cost, both ends included: what is really measured."""
    return spread(shapes, count)
