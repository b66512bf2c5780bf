"""Profiling a zoo: every block, every whole donor and a spread of stitch shapes, on one target."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from backends.model import ExportedModel
from backends.registry import get_backend
from compiler.block_exports import Activation, BlockExports, Structures, sample, stitch_shapes
from compiler.compatibility import PairRule, Rule
from compiler.latency_model import Interval, LatencyModel, StitchModel
from compiler.progress import Progress
from compiler.stitching import StitchShape
from profilers.cost_table import CostTable
from profilers.environment import Environment
from profilers.measurement import Measurement
from profilers.profile import ProfilePlan, ProfileProgress, plan, profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.target import Target

SEED = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a profile measures, by name, with the structure that its latency depends on.

    Attributes:
        donors: block structures of every donor at every size.
        stitches: the measured stitch shapes.
    """

    donors: Mapping[tuple[str, int], Structures]
    stitches: tuple[StitchShape, ...]

    @property
    def blocks(self) -> int:
        """Blocks of all donors at all sizes, alike ones counted each."""
        return sum(len(structures.blocks) for structures in self.donors.values())

    @property
    def distinct_blocks(self) -> int:
        """Blocks that differ in more than their weights."""
        return len({key for s in self.donors.values() for key in s.blocks.values()})


class ZooProfile:
    """Measures a zoo on a target and turns the measurements into a latency model."""

    def __init__(
        self,
        exports: BlockExports,
        target: Target,
        store: CostStore,
        sizes: tuple[int, ...],
        protocol: Protocol | None = None,
        rule: Rule | None = None,
    ) -> None:
        """Take the parts.

        Args:
            exports: the donors' blocks as ONNX.
            target: where to measure.
            store: what is already measured, and where new samples go.
            sizes: input sizes in pixels.
            protocol: how to measure.
            rule: which pairs of cuts a stitch may join.
        """
        self._exports = exports
        self._target = target
        self._store = store
        self._sizes = sizes
        self._protocol = protocol or Protocol()
        self._rule = rule or PairRule()

    def wanted(self, progress: Progress) -> Wanted:
        """Everything to measure; donors that nobody has exported yet are exported."""
        pairs = [(name, size) for size in self._sizes for name in self._exports.donors.names]
        progress.start("cutting donors into blocks", len(pairs))
        donors = {}
        for done, (name, size) in enumerate(pairs):
            progress.update(done, f"{name} at {size} px")
            donors[name, size] = self._exports.structures(name, size)
        progress.finish()
        shapes = stitch_shapes(self._exports.donors, self._sizes, self._rule)
        return Wanted(donors, sample(shapes))

    def plan(self, wanted: Wanted) -> ProfilePlan:
        """What measuring would take; measures nothing."""
        missing = self._missing(wanted, self._done(wanted))
        return plan(missing, self._target, self._store, self._protocol)

    def measure(
        self,
        wanted: Wanted,
        image: torch.Tensor | None,
        progress: Progress,
        fresh: bool = False,
    ) -> CostTable:
        """Measure what the store does not have, and return all costs.

        Args:
            wanted: from `wanted`.
            image: one real photograph (1, 3, H, W) in [0, 1], from which blocks get real
                activations; None: standard normal numbers.
            progress: told after every measurement.
            fresh: measure everything anew, and use only that.
        """
        missing = self._missing(wanted, set() if fresh else self._done(wanted))
        failures: Mapping[str, str] = {}
        if missing:
            progress.start(f"measuring on {self._target}", len(missing) * self._protocol.rounds)
            activations = {} if image is None else self._activations(wanted, image)
            failures = profile(
                missing,
                self._target,
                store=self._store,
                protocol=self._protocol,
                inputs=None if image is None else _Inputs(activations),
                progress=lambda p: progress.update(p.done, _note(p)),
                fresh=fresh,
            ).failures
            progress.finish()
        known = self._known(wanted)
        costs = {key: cost for key, cost in known.items() if key not in failures}
        return CostTable(self._environment(), costs, failures)

    def latency_model(self, wanted: Wanted, table: CostTable) -> LatencyModel:
        """Costs of blocks, donors and stitches as the assembly uses them."""
        blocks = {
            name: _interval(table.cost(key))
            for structures in wanted.donors.values()
            for name, key in structures.blocks.items()
        }
        wholes = {key: _interval(table.cost(s.whole)) for key, s in wanted.donors.items()}
        stitches = {
            shape: table.cost(self._exports.stitch_structure(shape)).median_us
            for shape in wanted.stitches
        }
        return LatencyModel(blocks, wholes, StitchModel.fit(stitches))

    def _environment(self) -> Environment:
        return Environment.capture(self._target, get_backend(self._target.backend))

    def _known(self, wanted: Wanted) -> dict[str, Measurement]:
        return self._store.measurements(self._environment(), self._keys(wanted), self._protocol)

    def _keys(self, wanted: Wanted) -> set[str]:
        keys = {key for s in wanted.donors.values() for key in (*s.blocks.values(), s.whole)}
        return keys | {self._exports.stitch_structure(shape) for shape in wanted.stitches}

    def _missing(self, wanted: Wanted, done: set[str]) -> list[ExportedModel]:
        """Models whose structure is not among those done; only these are exported again."""
        missing: dict[str, ExportedModel] = {}
        for (name, size), structures in wanted.donors.items():
            dissection = None
            for block_name, key in structures.blocks.items():
                if key not in done and key not in missing:
                    dissection = dissection or self._exports.donors.dissection(name, size)
                    missing[key] = self._exports.block(dissection.block_called(block_name))
            if structures.whole not in done:
                missing[structures.whole] = self._exports.whole(name, size)
        for shape in wanted.stitches:
            if self._exports.stitch_structure(shape) not in done:
                model = self._exports.stitch(shape)
                missing[model.structure] = model
        return list(missing.values())

    def _done(self, wanted: Wanted) -> set[str]:
        found = self._store.rounds_done(self._environment(), self._protocol, self._keys(wanted))
        return {key for key, done in found.items() if done.rounds >= self._protocol.rounds}

    def _activations(self, wanted: Wanted, image: torch.Tensor) -> dict[str, Activation]:
        found: dict[str, Activation] = {}
        for name, size in wanted.donors:
            pixels = torch.nn.functional.interpolate(image, (size, size), mode="bilinear")
            found |= self._exports.activations(name, size, pixels)
        return found


class _Inputs:
    """Real activations where the model is a donor's; seeded numbers for stitches."""

    def __init__(self, activations: Mapping[str, Activation]) -> None:
        self._activations = activations

    def __call__(self, model: ExportedModel) -> dict[str, Activation]:
        spec = model.inputs[0]
        if model.name in self._activations:
            return {spec.name: self._activations[model.name]}
        generator = torch.Generator().manual_seed(SEED)
        return {spec.name: torch.randn(spec.shape, generator=generator).numpy()}


def _interval(measurement: Measurement) -> Interval:
    return Interval(measurement.median_us, measurement.upper_us)


def _note(progress: ProfileProgress) -> str:
    return progress.name
