"""Parts: what the predictor needs to know of every block and stitch, read from their graphs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import pairwise

from pydantic import TypeAdapter

from backends.model import ExportedModel
from compiler.block_exports import BlockExports
from compiler.cache import Cache, digest
from compiler.dissection import Cut
from compiler.export import GRAPHS
from compiler.network import Blueprint
from compiler.seams import PLAIN, Seam, edges, grown
from compiler.stitching import StitchShape
from profilers.parts import Chain, Part

FLOAT_BYTES = 4
_FORMAT = 2  # raised whenever a part says something else of the same block


@dataclass(frozen=True, slots=True)
class DonorParts:
    """A donor at one input size as a chain of parts.

    Attributes:
        names: of its blocks (`Block.name`), in order.
        chain: the same blocks as parts; equal blocks are equal parts.
        whole: content hash of the uncut donor, weights ignored.
        seams: by cut, the convolutions at it that a stitch could be multiplied into: `before`,
            where a stitch leaves there, `behind`, where one arrives.
    """

    names: tuple[str, ...]
    chain: Chain
    whole: str
    seams: Mapping[str, Seam] = field(default_factory=dict)


def seam(source: DonorParts, leaves: str, target: DonorParts, arrives: str) -> Seam:
    """What a stitch lies between that leaves one donor at a cut and arrives at one of another."""
    before, behind = source.seams.get(leaves, PLAIN), target.seams.get(arrives, PLAIN)
    return Seam(before.before, behind.behind)


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
        before: tuple[DonorParts, Cut] | None = None
        for segment in blueprint.segments:
            dissection = donors.dissection(segment.model, size)
            start, end = dissection.cut(segment.start), dissection.cut(segment.end)
            parts = self.donor(segment.model, size)
            if before is not None:
                left, cut = before
                joint = seam(left, cut.name, parts, start.name)
                found.append(stitch_part(StitchShape.between(cut, start), joint))
            blocks = zip(dissection.blocks, parts.chain, strict=True)
            found += [p for b, p in blocks if start.position <= b.start.position < end.position]
            before = parts, end
        return tuple(found)

    def _read(self, model: str, size: int) -> DonorParts:
        key = digest(self.exports.donors.model(model).identity, size, GRAPHS, _FORMAT)
        value = self._cache.json("parts", key, lambda: self._export(model, size))
        blocks = value["blocks"]
        return DonorParts(
            tuple(blocks),
            tuple(Part(**part) for part in blocks.values()),
            str(value["whole"]),
            _seams().validate_python(value["seams"]),
        )

    def _export(self, model: str, size: int) -> dict[str, object]:
        blocks = self.exports.donors.dissection(model, size).blocks
        models = [self.exports.block(block) for block in blocks]
        made = tuple(zip(blocks, models, strict=True))
        ends = zip(blocks, map(edges, models), strict=True)
        seams = {
            left.end.name: asdict(Seam(ended.before, begun.behind))
            for (left, ended), (_, begun) in pairwise(ends)
        }
        return {
            "blocks": {block.name: asdict(block_part(one, block.macs)) for block, one in made},
            "whole": self.exports.whole(model, size).structure,
            "seams": seams,
        }


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


def stitch_part(shape: StitchShape, between: Seam = PLAIN) -> Part:
    """A stitch as a part, from shapes alone: most are never exported.

    Args:
        shape: of the stitch.
        between: the convolutions beside it; it is multiplied into them where that is exact.
    """
    left = grown(shape, between)
    if left is not None:
        weights = FLOAT_BYTES * left.weights
        key = f"stitch {shape} folded: {left.macs} MACs, {weights} bytes"
        return Part(key, "stitch", left.macs, weights, 0, 0, 0, joined=True)
    return Part(
        key=f"stitch {shape}",
        kind="stitch",
        macs=shape.macs,
        weight_bytes=FLOAT_BYTES * shape.params,
        nodes=1 if shape.kind != "nearest" else 2,
        input_bytes=_bytes(shape.source),
        output_bytes=_bytes(shape.target),
    )


@cache
def _seams() -> TypeAdapter[dict[str, Seam]]:
    return TypeAdapter(dict[str, Seam])


def _bytes(shape: tuple[int, int, int]) -> int:
    channels, height, width = shape
    return FLOAT_BYTES * channels * height * width
