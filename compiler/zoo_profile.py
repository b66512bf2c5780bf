"""Profiling a zoo: blocks, whole donors, stitches and how they add up, on one target."""

from collections.abc import Iterable, Iterator, Mapping

import torch

from backends.model import ExportedModel
from compiler.block_exports import Activation, BlockExports
from compiler.cache import Cache
from compiler.compatibility import PairRule, Rule
from compiler.latency_model import Interval, LatencyModel
from compiler.parts import Parts, stitch_part
from compiler.progress import Progress
from compiler.wanted import Wanted, WishList
from profilers.cost_table import CostTable
from profilers.environment import Environment
from profilers.measurement import Measurement
from profilers.part_costs import PartCosts
from profilers.parts import Chain, Cost, Observation, Part
from profilers.prediction import LatencyPredictor
from profilers.profile import ProfilePlan, plan, profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from profilers.surroundings import capture
from targets.target import Target

SEED = 0


class ZooProfile:
    """Measures a zoo on a target and turns the measurements into a latency model."""

    def __init__(
        self,
        exports: BlockExports,
        cache: Cache,
        target: Target,
        store: CostStore,
        sizes: tuple[int, ...],
        protocol: Protocol | None = None,
        rule: Rule | None = None,
    ) -> None:
        """Take the parts.

        Args:
            exports: the donors' blocks as ONNX.
            cache: where what is known of them is kept.
            target: where to measure.
            store: what is already measured, and where new samples go.
            sizes: input sizes in pixels.
            protocol: how to measure.
            rule: which pairs of cuts a stitch may join.
        """
        self.parts = Parts(exports, cache)
        self._exports = exports
        self._target = target
        self._store = store
        self._sizes = sizes
        self._protocol = protocol or Protocol()
        self._wishes = WishList(self.parts, cache, rule or PairRule(), target.precisions)

    def wanted(self, progress: Progress) -> Wanted:
        """Everything to measure; donors that nobody has exported yet are exported."""
        return self._wishes.wanted(self._sizes, progress)

    def models(self, wanted: Wanted, without: frozenset[str] = frozenset()) -> list[ExportedModel]:
        """Everything that is wanted as ONNX, but for some structures."""
        return self._wishes.missing(wanted, without)

    def plan(self, wanted: Wanted, budget_seconds: float | None = None) -> ProfilePlan:
        """What measuring would take; measures nothing."""
        missing = sorted(self.unmeasured(wanted.keys))
        return plan(missing, self._target, self._store, self._protocol, budget_seconds)

    def unmeasured(self, keys: Iterable[str]) -> frozenset[str]:
        """Structures among these of which the store does not have all rounds."""
        asked = frozenset(keys)
        return asked - self._done(asked)

    def measure(
        self,
        wanted: Wanted,
        image: torch.Tensor | None,
        progress: Progress,
        fresh: bool = False,
        budget_seconds: float | None = None,
    ) -> CostTable:
        """Measure what the store does not have, and return all costs.

        Args:
            wanted: from `wanted`.
            image: one real photograph (1, 3, H, W) in [0, 1], from which blocks get real
                activations; None: standard normal numbers.
            progress: told after every measurement.
            fresh: measure everything anew, and use only that.
            budget_seconds: time to measure; what matters most comes first, and what is left
                unmeasured is named in the table.
        """
        done: frozenset[str] = frozenset() if fresh else self._done(wanted.keys)
        missing = self.models(wanted, done)
        if not missing:
            return self._table(wanted, {})
        progress.start(f"measuring on {self._target}", len(missing) * self._protocol.rounds)
        activations = {} if image is None else self._activations(wanted, image)
        made = profile(
            missing,
            self._target,
            store=self._store,
            protocol=self._protocol,
            inputs=None if image is None else _Inputs(activations),
            progress=lambda p: progress.update(p.done, p.name, p.total),
            fresh=fresh,
            priority=wanted.priority,
            budget_seconds=budget_seconds,
        )
        progress.finish()
        return self._table(wanted, made.failures, made.unmeasured)

    def latency_model(self, wanted: Wanted, table: CostTable) -> LatencyModel:
        """Costs of blocks, donors and stitches as the assembly uses them."""
        wholes = {
            key: _interval(table.costs[donor.whole])
            for key, donor in wanted.donors.items()
            if donor.whole in table.costs
        }
        return LatencyModel(self.predictor(wanted, table), wanted.donors, wholes)

    def predictor(self, wanted: Wanted, table: CostTable) -> LatencyPredictor:
        """Fits the predictor to everything that was measured."""
        alone = PartCosts.learn(list(_parts(wanted)), _alone(wanted, table))
        return LatencyPredictor.fit(alone, tuple(self._observations(wanted, table, alone)))

    def _observations(
        self, wanted: Wanted, table: CostTable, alone: PartCosts
    ) -> Iterator[Observation]:
        """Each measured chain once, however many donors share it; twins tell nothing more."""
        seen: set[tuple[str, bool]] = set()
        for key, chain, name, whole in self._chains(wanted):
            if key in table.costs and (key, whole) not in seen and all(map(alone.knows, chain)):
                seen.add((key, whole))
                yield Observation(name, chain, Cost.of(table.costs[key]), whole)

    def _chains(self, wanted: Wanted) -> Iterator[tuple[str, Chain, str, bool]]:
        """Everything that is measured as a chain: structure, parts, name, whether it is whole."""
        for (model, size), donor in wanted.donors.items():
            yield donor.whole, donor.chain, f"{model}@{size}", True
        for network, key in wanted.networks.items():
            yield key, self.parts.chain(network), str(network), True
        for window, key in wanted.windows.items():
            chain = wanted.donors[window.model, window.size].chain
            yield key, chain[window.index : window.index + 2], str(window), False

    def _environment(self) -> Environment:
        return capture(self._target)

    def _table(
        self, wanted: Wanted, failures: Mapping[str, str], unmeasured: tuple[str, ...] = ()
    ) -> CostTable:
        environment = self._environment()
        known = self._store.measurements(environment, wanted.keys, self._protocol)
        absent = {*failures, *unmeasured}
        costs = {key: cost for key, cost in known.items() if key not in absent}
        return CostTable(environment, costs, failures, unmeasured)

    def _done(self, keys: Iterable[str]) -> frozenset[str]:
        found = self._store.rounds_done(self._environment(), self._protocol, keys)
        return frozenset(k for k, done in found.items() if done.rounds >= self._protocol.rounds)

    def _activations(self, wanted: Wanted, image: torch.Tensor) -> dict[str, Activation]:
        found: dict[str, Activation] = {}
        for name, size in wanted.donors:
            pixels = torch.nn.functional.interpolate(image, (size, size), mode="bilinear")
            arriving = self._exports.activations(name, size, pixels)
            found |= arriving
            found |= {f"{block} int8": values for block, values in arriving.items()}
        for window in wanted.windows:
            first = wanted.donors[window.model, window.size].names[window.index]
            found[str(window)] = found[first]
        for network in wanted.networks:
            found[str(network)] = found[f"{network.segments[0].model}@{network.input_size}"]
        return found


class _Inputs:
    """Real activations where the model is made of a donor; seeded numbers for stitches."""

    def __init__(self, activations: Mapping[str, Activation]) -> None:
        self._activations = activations

    def __call__(self, model: ExportedModel) -> dict[str, Activation]:
        spec = model.inputs[0]
        if model.name in self._activations:
            return {spec.name: self._activations[model.name]}
        generator = torch.Generator().manual_seed(SEED)
        return {spec.name: torch.randn(spec.shape, generator=generator).numpy()}


def _parts(wanted: Wanted) -> Iterator[Part]:
    for donor in wanted.donors.values():
        yield from donor.chain
    yield from map(stitch_part, wanted.stitches)


def _alone(wanted: Wanted, table: CostTable) -> dict[str, Cost]:
    """What was measured of parts alone, by `Part.key`."""
    found = {part.key: part.key for donor in wanted.donors.values() for part in donor.chain}
    found |= {stitch_part(shape).key: key for shape, key in wanted.stitches.items()}
    found |= {key: key for donor in wanted.int8.values() for key in donor.blocks.values()}
    return {part: Cost.of(table.costs[key]) for part, key in found.items() if key in table.costs}


def _interval(measurement: Measurement) -> Interval:
    return Interval(measurement.median_us, measurement.upper_us)
