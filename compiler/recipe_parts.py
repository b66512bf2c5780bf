"""Recipe parts: the chain of parts that the latency of a design is predicted from.

A segment between cuts of its donor, on a grid on which the donor is profiled, is the row of its
blocks, and a 1x1 stitch between maps is known by its shape: both are what a zoo's profile measures.
Everything else is exported and measured alone: new stems and heads, DeRy's stitches, stitches of
tokens, and segments on other grids.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise

from torch import nn

from backends.model import ExportedModel, TensorSpec
from compiler.cache import Cache, digest
from compiler.dery_stitch import (
    DeryHead,
    DeryShape,
    DeryStem,
    DeryStitch,
    HeadShape,
    StemShape,
    seeded,
)
from compiler.design import Design, recipe_of
from compiler.donors import Donors
from compiler.export import GRAPHS, export
from compiler.folding import fold
from compiler.linear_stitch import LinearShape, LinearStitch
from compiler.network import Blueprint
from compiler.parts import Parts, block_part, seam, stitch_part
from compiler.recipe_network import SEED
from compiler.recipe_plan import JointShape, RecipePlan, plan_recipe
from compiler.recipe_plan import Part as Said
from compiler.seams import PLAIN, Seam
from compiler.segment_runs import GraphRun, Run, TokenRun
from profilers.parts import Chain, Kind, Part

Make = Callable[[], ExportedModel]
Layer = Run | StemShape | JointShape | HeadShape


@dataclass(frozen=True, slots=True)
class Link:
    """A part of a network, with the model that is measured for it.

    Attributes:
        name: for people.
        part: what the predictor needs to know.
        structure: content hash of the model, weights ignored; of a stitch that is joined to a
            neighbour, that of the stitch alone, which is not measured for it.
        make: exports the model.
    """

    name: str
    part: Part
    structure: str
    make: Make


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a recipe has a name for: its stem, a segment, a stitch, its head.

    Attributes:
        name: "stem", "segment 1", "stitch 1", "head".
        what: what it is, in the recipe's words.
        links: its parts, in order: the blocks of a segment, else one.
    """

    name: str
    what: str
    links: tuple[Link, ...]


class RecipeParts:
    """Takes designs apart."""

    def __init__(
        self, donors: Donors, parts: Parts, profiled: Collection[tuple[str, int]], cache: Cache
    ) -> None:
        """Take what is known.

        Args:
            donors: where segments come from.
            parts: of the donors that are profiled.
            profiled: which donors these are, each with an input size in pixels.
            cache: where what is known of the other parts is kept.
        """
        self._donors = donors
        self._parts = parts
        self._profiled = frozenset(profiled)
        self._cache = cache

    def stretches(self, design: Design) -> tuple[Stretch, ...]:
        """A design from the picture to the logits.

        Raises:
            UnknownNameError, UsageError, ZooError: as `plan_recipe`.
        """
        recipe = recipe_of(design, self._donors) if isinstance(design, Blueprint) else design
        plan = plan_recipe(recipe, self._donors)
        identities = tuple(self._donors.model(name).identity for name in recipe.donors)
        found = []
        layers = tuple(_layers(plan))
        beside = zip((None, *layers), (*layers[1:], None), strict=False)
        rows = zip(pairwise(plan.parts), layers, beside, strict=True)
        for (before, said), layer, (left, right) in rows:
            links = self._known(layer, left, right)
            if not links:
                key = digest(str(recipe), identities, said.name, GRAPHS)
                make = partial(_export, layer, before.tensor, said.name)
                links = (self._alone(make, _kind(layer), said, key),)
            found.append(Stretch(said.name, _what(layer, said), links))
        return tuple(found)

    def _known(self, layer: Layer, left: Layer | None, right: Layer | None) -> tuple[Link, ...]:
        """The links of a layer, between two others, that a profile of its zoo knows."""
        if isinstance(layer, GraphRun) and self._is_profiled(layer):
            return tuple(self._blocks(layer))
        if isinstance(layer, LinearShape) and layer.source.is_map and layer.target.is_map:
            shape, exports = layer.stitch, self._parts.exports
            structure = exports.stitch_structure(shape)
            make = partial(exports.stitch, shape)
            part = stitch_part(shape, self._seam(left, right))
            return (Link(f"stitch {shape}", part, structure, make),)
        return ()

    def _seam(self, left: Layer | None, right: Layer | None) -> Seam:
        """What a stitch lies between, where both are runs whose blocks a profile knows."""
        runs = [
            run for run in (left, right) if isinstance(run, GraphRun) and self._is_profiled(run)
        ]
        if len(runs) < 2:
            return PLAIN
        source, target = (self._parts.donor(run.segment.model, run.input_size) for run in runs)
        return seam(source, runs[0].cut_names[1], target, runs[1].cut_names[0])

    def _is_profiled(self, run: GraphRun) -> bool:
        positions = {cut.position for cut in run.dissection.cuts}
        return (run.segment.model, run.input_size) in self._profiled and positions.issuperset(
            (run.start.position, run.end.position)
        )

    def _blocks(self, run: GraphRun) -> Iterator[Link]:
        exports = self._parts.exports
        donor = self._parts.donor(run.segment.model, run.input_size)
        for block, part in zip(run.dissection.blocks, donor.chain, strict=True):
            if run.start.position <= block.start.position < run.end.position:
                yield Link(block.name, part, part.key, partial(exports.block, block))

    def _alone(self, make: Make, kind: Kind, said: Said, key: str) -> Link:
        def described() -> dict[str, object]:
            return asdict(replace(block_part(make(), said.macs), kind=kind))

        part = Part(**self._cache.json("parts", key, described))
        return Link(said.name, part, part.key, make)


def chain_of(stretches: tuple[Stretch, ...]) -> Chain:
    """The parts of all stretches, in order."""
    return tuple(link.part for stretch in stretches for link in stretch.links)


def _layers(plan: RecipePlan) -> Iterator[Layer]:
    """What the parts of a plan are made by, behind the picture."""
    if plan.stem:
        yield plan.stem
    yield plan.runs[0]
    for joint, run in zip(plan.stitches, plan.runs[1:], strict=True):
        yield joint
        yield run
    if plan.head:
        yield plan.head


def _what(layer: Layer, said: Said) -> str:
    """A run by the cuts it lies between, as its blocks are named; else the recipe's words."""
    if not isinstance(layer, GraphRun):
        return said.what
    start, end = layer.cut_names
    return f"{layer.segment.model}[{start}..{end}] at {layer.input_size} px"


def _kind(layer: Layer) -> Kind:
    return "stitch" if isinstance(layer, DeryShape | LinearShape) else "block"


def _export(layer: Layer, arriving: TensorSpec, name: str) -> ExportedModel:
    """A layer as ONNX, batch 1, its weights random where they are new."""
    return fold(export(_module(layer), replace(arriving, name="x"), name)).model


def _module(layer: Layer) -> nn.Module:
    if isinstance(layer, GraphRun | TokenRun):
        return layer.module()
    with seeded(SEED):
        if isinstance(layer, StemShape):
            return DeryStem(layer)
        if isinstance(layer, HeadShape):
            return DeryHead(layer)
        return DeryStitch(layer) if isinstance(layer, DeryShape) else LinearStitch(layer)
