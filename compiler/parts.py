"""Parts: what the predictor needs to know of every block and stitch, read from their graphs."""

from dataclasses import asdict, dataclass

from backends.model import ExportedModel
from compiler.block_exports import BlockExports
from compiler.cache import Cache, digest
from compiler.export import TOOLCHAIN
from compiler.network import Blueprint
from compiler.stitching import StitchShape
from profilers.parts import Chain, Part

_FLOAT_BYTES = 4
_FORMAT = 1  # raised whenever a part says something else of the same block


@dataclass(frozen=True, slots=True)
class DonorParts:
    """A donor at one input size as a chain of parts.

    Attributes:
        names: of its blocks (`Block.name`), in order.
        chain: the same blocks as parts; equal blocks are equal parts.
        whole: content hash of the uncut donor, weights ignored.
    """

    names: tuple[str, ...]
    chain: Chain
    whole: str


class Parts:
    """Looks parts up; a donor that nobody has exported before is exported once."""

    def __init__(self, exports: BlockExports, cache: Cache) -> None:
        self.exports = exports
        self._cache = cache
        self._donors: dict[tuple[str, int], DonorParts] = {}

    def donor(self, model: str, size: int) -> DonorParts:
        """The parts of an uncut donor."""
        if (model, size) not in self._donors:
            self._donors[model, size] = self._read(model, size)
        return self._donors[model, size]

    def chain(self, blueprint: Blueprint) -> Chain:
        """The parts of a network: the blocks of every segment, and the stitches between them."""
        donors, size = self.exports.donors, blueprint.input_size
        found: list[Part] = []
        before = None
        for segment in blueprint.segments:
            dissection = donors.dissection(segment.model, size)
            start, end = dissection.cut(segment.start), dissection.cut(segment.end)
            if before is not None:
                found.append(stitch_part(StitchShape.between(before, start)))
            parts = self.donor(segment.model, size)
            blocks = zip(dissection.blocks, parts.chain, strict=True)
            found += [p for b, p in blocks if start.position <= b.start.position < end.position]
            before = end
        return tuple(found)

    def _read(self, model: str, size: int) -> DonorParts:
        key = digest(self.exports.donors.model(model).identity, size, TOOLCHAIN, _FORMAT)
        value = self._cache.json("parts", key, lambda: self._export(model, size))
        blocks = value["blocks"]
        return DonorParts(
            tuple(blocks), tuple(Part(**part) for part in blocks.values()), str(value["whole"])
        )

    def _export(self, model: str, size: int) -> dict[str, object]:
        blocks = self.exports.donors.dissection(model, size).blocks
        parts = {b.name: asdict(block_part(self.exports.block(b), b.macs)) for b in blocks}
        return {"blocks": parts, "whole": self.exports.whole(model, size).structure}


def block_part(model: ExportedModel, macs: int) -> Part:
    """A block as a part, from its graph of one input and one output."""
    return Part(
        key=model.structure,
        kind="block",
        macs=macs,
        weight_bytes=model.weight_bytes,
        nodes=model.nodes,
        input_bytes=sum(spec.nbytes for spec in model.inputs),
        output_bytes=sum(spec.nbytes for spec in model.outputs),
    )


def stitch_part(shape: StitchShape) -> Part:
    """A stitch as a part, from its shape alone: most shapes are never exported."""
    return Part(
        key=f"stitch {shape}",
        kind="stitch",
        macs=shape.macs,
        weight_bytes=_FLOAT_BYTES * shape.params,
        nodes=1 if shape.kind != "nearest" else 2,
        input_bytes=_bytes(shape.source),
        output_bytes=_bytes(shape.target),
    )


def _bytes(shape: tuple[int, int, int]) -> int:
    channels, height, width = shape
    return _FLOAT_BYTES * channels * height * width
