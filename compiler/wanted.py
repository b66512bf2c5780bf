"""`Wanted`: everything that a profile of a zoo measures, by what its latency depends on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain

from backends.model import ExportedModel
from compiler.block_exports import BlockExports, Structures, sample, stitch_shapes
from compiler.cache import Cache, digest
from compiler.chains import (
    Window,
    exported_network,
    exported_window,
    random_networks,
    windows,
)
from compiler.compatibility import Rule
from compiler.export import GRAPHS
from compiler.network import Blueprint
from compiler.parts import DonorParts, Parts
from compiler.precisions import FLOAT, INT8
from compiler.progress import Progress, counter
from compiler.stitching import StitchShape
from profilers.spread import spread

Make = Callable[[], ExportedModel]

_FIRST, _NETWORK, _WHOLE, _STITCH, _WINDOW, _BLOCK, _INT8 = 7.0, 6.0, 5.0, 4.0, 3.0, 1.0, 0.0
_FIRST_BLOCKS, _FIRST_STITCHES = 10, 5  # from which all others can be estimated


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a profile measures.

    Attributes:
        donors: the parts of every donor at every size.
        stitches: the stitch shapes that are measured, with their structures.
        windows: pairs of neighbouring blocks that are measured as one, with their structures.
        networks: random stitched networks that are measured whole, with their structures.
        int8: the structures of int8 variants, where the target allows them.
    """

    donors: Mapping[tuple[str, int], DonorParts]
    stitches: Mapping[StitchShape, str]
    windows: Mapping[Window, str]
    networks: Mapping[Blueprint, str]
    int8: Mapping[tuple[str, int], Structures]

    @property
    def blocks(self) -> int:
        """Blocks of all donors at all sizes, alike ones counted each."""
        return sum(len(parts.chain) for parts in self.donors.values())

    @property
    def distinct_blocks(self) -> int:
        """Blocks that differ in more than their weights."""
        return len({part.key for parts in self.donors.values() for part in parts.chain})

    @property
    def priority(self) -> Mapping[str, float]:
        """How much it matters to know each structure, where time is short.

        A few blocks and stitches of all weights first, from which any other can be estimated. Then
        whole networks and donors, which predictions are put right by, and which compete with what
        is assembled; stitches and windows, which are few and tell of all networks; blocks, by the
        work they stand for in all donors, since the latency of a light one is estimated well
        enough; int8 variants last.
        """
        int8 = (key for s in self.int8.values() for key in (*s.blocks.values(), s.whole))
        found = {key: _INT8 for key in int8 if key is not None}
        work: dict[str, int] = {}
        for parts in self.donors.values():
            for part in parts.chain:
                work[part.key] = work.get(part.key, 0) + part.macs
        most = max(work.values(), default=0) or 1
        found |= {key: _BLOCK + macs / most for key, macs in work.items()}
        found |= dict.fromkeys(self.windows.values(), _WINDOW)
        found |= dict.fromkeys(self.stitches.values(), _STITCH)
        found |= dict.fromkeys((parts.whole for parts in self.donors.values()), _WHOLE)
        found |= dict.fromkeys(self.networks.values(), _NETWORK)
        heaviest = sorted(work, key=lambda key: (work[key], key))
        first = spread(heaviest, _FIRST_BLOCKS) + spread(
            tuple(self.stitches.values()), _FIRST_STITCHES
        )
        return found | dict.fromkeys(first, _FIRST)

    @property
    def keys(self) -> frozenset[str]:
        """Every structure that is measured."""
        return frozenset(self.priority)


class WishList:
    """Says what a zoo's profile wants, and exports what of it is still missing."""

    def __init__(self, parts: Parts, cache: Cache, rule: Rule, precisions: tuple[str, ...]) -> None:
        self._parts = parts
        self._exports: BlockExports = parts.exports
        self._cache = cache
        self._rule = rule
        self._precisions = precisions

    def wanted(self, sizes: tuple[int, ...], progress: Progress) -> Wanted:
        """Everything to measure; donors that nobody has exported yet are exported."""
        pairs = [(name, size) for size in sizes for name in self._exports.donors.names]
        progress.start("cutting donors into blocks", len(pairs))
        donors, int8 = {}, {}
        for done, (name, size) in enumerate(pairs):
            progress.update(done, f"{name} at {size} px")
            donors[name, size] = self._parts.donor(name, size)
            if INT8 in self._precisions:
                int8[name, size] = self._exports.structures(name, size, INT8)
        shapes = sample(stitch_shapes(self._exports.donors, sizes, self._rule))
        neighbours, networks = windows(donors), self._networks(sizes)
        told = counter(progress, len(pairs), len(shapes) + len(neighbours) + len(networks))
        wanted = Wanted(
            donors,
            {shape: self._exports.stitch_structure(shape) for shape in map(told, shapes)},
            {window: self._window(window) for window in map(told, neighbours)},
            {network: self._network(network) for network in map(told, networks)},
            int8,
        )
        progress.finish()
        return wanted

    def missing(self, wanted: Wanted, done: frozenset[str]) -> list[ExportedModel]:
        """Models whose structure is not among those done; only these are exported again."""
        seen, found = set(done), []
        for key, make in chain(self._of_donors(wanted), self._of_chains(wanted)):
            if key not in seen:
                seen.add(key)
                found.append(make())
        return found

    def _of_donors(self, wanted: Wanted) -> Iterator[tuple[str, Make]]:
        """Blocks and whole donors, in fp32 and int8, with what exports them."""
        exports = self._exports
        for (name, size), donor in wanted.donors.items():
            for block, part in zip(donor.names, donor.chain, strict=True):
                yield part.key, partial(self._block, name, size, block)
            yield donor.whole, partial(exports.whole, name, size)
        for (name, size), structures in wanted.int8.items():
            for block, key in structures.blocks.items():
                yield key, partial(self._block, name, size, block, INT8)
            if structures.whole is not None:
                yield structures.whole, partial(exports.quantized_whole, name, size)

    def _of_chains(self, wanted: Wanted) -> Iterator[tuple[str, Make]]:
        """Stitches, windows and networks, with what exports them."""
        exports = self._exports
        for shape, key in wanted.stitches.items():
            yield key, partial(exports.stitch, shape)
        for window, key in wanted.windows.items():
            yield key, partial(exported_window, window, exports)
        for network, key in wanted.networks.items():
            yield key, partial(exported_network, network, exports)

    def _block(self, model: str, size: int, name: str, precision: str = FLOAT) -> ExportedModel:
        block = self._exports.donors.dissection(model, size).block_called(name)
        export = self._exports.quantized if precision == INT8 else self._exports.block
        return export(block)

    def _networks(self, sizes: tuple[int, ...]) -> tuple[Blueprint, ...]:
        """Random networks at the largest size: the rest is alike, and these are the slowest."""
        donors = self._exports.donors
        dissections = [donors.dissection(name, max(sizes)) for name in donors.names]
        return random_networks(dissections, self._rule)

    def _window(self, window: Window) -> str:
        identity = self._exports.donors.model(window.model).identity
        key = digest(identity, window.size, window.index, GRAPHS)
        return self._structure(key, lambda: exported_window(window, self._exports))

    def _network(self, network: Blueprint) -> str:
        models = map(self._exports.donors.model, network.donors)
        identities = tuple(model.identity for model in models)
        key = digest(str(network), identities, GRAPHS)
        return self._structure(key, lambda: exported_network(network, self._exports))

    def _structure(self, key: str, make: Make) -> str:
        return str(self._cache.json("structures", key, lambda: make().structure))
