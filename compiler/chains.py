"""Chains: windows of blocks and random stitched networks, measured to learn how parts add up.

Neither needs weights that are fitted to anything: latency does not depend on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from backends.chaining import chain
from backends.model import ExportedModel
from compiler.block_exports import BlockExports
from compiler.compatibility import Rule
from compiler.dissection import INPUT, OUTPUT, Cut, Dissection
from compiler.folding import fold
from compiler.network import Blueprint, Segment
from compiler.parts import DonorParts
from compiler.stitching import StitchShape
from profilers.parts import Part
from profilers.spread import spread

WINDOWS = 12
NETWORKS = 6
MOST_STITCHES = 3

_ATTEMPTS = 50  # random walks per network before there are taken to be no more


@dataclass(frozen=True, slots=True)
class Window:
    """Two neighbouring blocks of a donor, measured as one model."""

    model: str
    size: int
    index: int

    def __str__(self) -> str:
        return f"{self.model}@{self.size}/window {self.index}"


def windows(
    donors: Mapping[tuple[str, int], DonorParts], count: int = WINDOWS
) -> tuple[Window, ...]:
    """Pairs of neighbouring blocks, evenly spread over the bytes that cross between them."""
    found: dict[tuple[Part, Part], Window] = {}
    for (model, size), parts in donors.items():
        for index, pair in enumerate(pairwise(parts.chain)):
            found.setdefault(pair, Window(model, size, index))
    ordered = sorted(found, key=lambda pair: (pair[0].output_bytes, str(found[pair])))
    return tuple(found[pair] for pair in spread(ordered, count))


def random_networks(
    dissections: Sequence[Dissection],
    rule: Rule,
    count: int = NETWORKS,
    seed: int = 0,
    most_stitches: int = MOST_STITCHES,
) -> tuple[Blueprint, ...]:
    """Stitched networks that the rule allows, each once, drawn by random walks.

    Args:
        dissections: donors at one input size.
        rule: which pairs of cuts a stitch may join.
        count: how many are wanted; fewer where there are no more.
        seed: of the walks.
        most_stitches: in one network; there is at least one.
    """
    random = np.random.default_rng(seed)
    walk = _Walk(dissections, rule)
    found: dict[Blueprint, None] = {}
    for _ in range(count * _ATTEMPTS):
        if len(found) == count:
            break
        blueprint = walk.draw(random, int(random.integers(1, most_stitches + 1)))
        if blueprint is not None:
            found.setdefault(blueprint)
    return tuple(found)


class _Walk:
    """Random walks from donor to donor."""

    def __init__(self, dissections: Sequence[Dissection], rule: Rule) -> None:
        self._donors = {d.name: d for d in dissections}
        self._ways: dict[tuple[str, str], list[tuple[str, Cut]]] = {}
        for left in dissections:
            for source in left.cuts:
                ways = [
                    (right.name, target)
                    for right in dissections
                    for target in right.cuts
                    if rule.offers(left.name, source, right.name, target)
                ]
                if ways:
                    self._ways[left.name, source.name] = ways

    def draw(self, random: np.random.Generator, stitches: int) -> Blueprint | None:
        """A network of this many stitches; None where the walk came to no end."""
        name = str(random.choice(sorted(self._donors)))
        start, at, segments = INPUT, 0, []
        for _ in range(stitches):
            leaving = [c for c in self._donors[name].cuts if c.position > at and self._way(name, c)]
            if not leaving:
                return None
            cut = leaving[int(random.integers(len(leaving)))]
            segments.append(Segment(name, start, cut.name))
            name, target = self._next(name, cut, random)
            start, at = target.name, target.position
        segments.append(Segment(name, start, OUTPUT))
        size = self._donors[name].input_size
        return Blueprint(size, tuple(segments))

    def _way(self, name: str, cut: Cut) -> list[tuple[str, Cut]]:
        return self._ways.get((name, cut.name), [])

    def _next(self, name: str, cut: Cut, random: np.random.Generator) -> tuple[str, Cut]:
        """A donor first and then a cut of it, so that donors of many cuts are no more likely."""
        ways = self._way(name, cut)
        donors = list(dict.fromkeys(donor for donor, _ in ways))
        chosen = donors[int(random.integers(len(donors)))]
        targets = [way for way in ways if way[0] == chosen]
        return targets[int(random.integers(len(targets)))]


def exported_window(window: Window, exports: BlockExports) -> ExportedModel:
    """A window as one ONNX model, cut out of its donor."""
    blocks = exports.donors.dissection(window.model, window.size).blocks
    first, second = blocks[window.index], blocks[window.index + 1]
    return exports.run(window.model, window.size, first.start, second.end, str(window))


def exported_network(blueprint: Blueprint, exports: BlockExports) -> ExportedModel:
    """A network as one folded ONNX model, its stitches' weights random: for measuring it alone."""
    return fold(chained_network(blueprint, exports)).model


def chained_network(blueprint: Blueprint, exports: BlockExports) -> ExportedModel:
    """The same before it is folded: segments and stitches as they are exported."""
    size = blueprint.input_size
    models: list[ExportedModel] = []
    before: Cut | None = None
    for segment in blueprint.segments:
        dissection = exports.donors.dissection(segment.model, size)
        start, end = dissection.cut(segment.start), dissection.cut(segment.end)
        if before is not None:
            models.append(exports.stitch(StitchShape.between(before, start)))
        models.append(exports.run(segment.model, size, start, end, str(segment)))
        before = end
    return chain(models, str(blueprint))
