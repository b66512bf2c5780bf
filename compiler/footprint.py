"""Footprints: what blocks and stitches need of memory and energy, before they are joined."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

from compiler.compatibility import StitchOption
from compiler.dissection import Block, Dissection
from compiler.parts import FLOAT_BYTES, stitch_part
from compiler.wanted import Wanted
from profilers.cost_table import CostTable


@dataclass(frozen=True, slots=True)
class Energy:
    """What a machine was measured to use.

    Attributes:
        joules: of blocks alone, by `Block.name`.
        watts: the highest mean power of anything measured: for what was not measured itself.
    """

    joules: Mapping[str, float]
    watts: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What footprints are corrected by; all of it from measurements.

    Attributes:
        weight_bytes: of blocks as they are exported, by `Block.name`.
        peaks: measured peak memory of whole donors, by name and input size.
        energy: what the machine uses; None where it has no meter.
    """

    weight_bytes: Mapping[str, int] = field(default_factory=dict)
    peaks: Mapping[tuple[str, int], int] = field(default_factory=dict)
    energy: Energy | None = None


def calibrated(wanted: Wanted, table: CostTable) -> Calibration:
    """What a profile tells of memory and energy."""
    weights = {
        name: part.weight_bytes
        for donor in wanted.donors.values()
        for name, part in zip(donor.names, donor.chain, strict=True)
    }
    peaks = {
        key: peak
        for key, donor in wanted.donors.items()
        if donor.whole in table.costs and (peak := table.costs[donor.whole].peak_bytes)
    }
    return Calibration(weights, peaks, _energy(wanted, table))


def _energy(wanted: Wanted, table: CostTable) -> Energy | None:
    """Joules of all blocks that were measured with a meter."""
    metered = {key: cost for key, cost in table.costs.items() if cost.joules is not None}
    if not metered:
        return None
    watts = max((cost.joules or 0.0) / (1e-6 * cost.median_us) for cost in metered.values())
    joules = {
        name: metered[part.key].joules or 0.0
        for donor in wanted.donors.values()
        for name, part in zip(donor.names, donor.chain, strict=True)
        if part.key in metered
    }
    return Energy(joules, watts)


class Footprints:
    """Looks up what steps of a path need; activations are counted once a block, when asked for."""

    def __init__(
        self, dissections: Mapping[tuple[str, int], Dissection], calibration: Calibration
    ) -> None:
        self.calibration = calibration
        self._dissections = dissections
        self._activations: dict[str, int] = {}

    def weight_bytes(self, step: Block | StitchOption) -> int:
        """Bytes of a step's weights."""
        if isinstance(step, Block):
            return self.calibration.weight_bytes.get(step.name, FLOAT_BYTES * step.params)
        return stitch_part(step.shape).weight_bytes

    def held_bytes(self, step: Block | StitchOption, weight_bytes: int | None = None) -> float:
        """What a step's weights add to the peak memory of the whole network.

        Args:
            step: the step.
            weight_bytes: of its weights; None: as they are in float.
        """
        held = self.weight_bytes(step) if weight_bytes is None else weight_bytes
        return float(ceil(self.excess * held))

    def passing_bytes(self, step: Block | StitchOption) -> float:
        """What a step's activations add to it, if no other step's are larger."""
        return float(ceil(self.excess * self.activation_bytes(step)))

    @cached_property
    def excess(self) -> float:
        """Peak memory as a multiple of weights and largest activation: the most of all donors."""
        ratios = [peak / self._whole_bytes(key) for key, peak in self.calibration.peaks.items()]
        return max([1.0, *ratios])

    def _whole_bytes(self, donor: tuple[str, int]) -> int:
        """Weights and largest activation of a whole donor."""
        blocks = self._dissections[donor].blocks
        weights = sum(map(self.weight_bytes, blocks))
        return weights + max(map(self.activation_bytes, blocks))

    def activation_bytes(self, step: Block | StitchOption) -> int:
        """The most bytes of activations that a step holds at once."""
        if not isinstance(step, Block):
            part = stitch_part(step.shape)
            return part.input_bytes + part.output_bytes
        if step.name not in self._activations:
            dissection = self._dissections[step.model, step.size]
            self._activations[step.name] = dissection.activation_bytes(step.start, step.end)
        return self._activations[step.name]

    def energy_j(self, step: Block | StitchOption, upper_us: float) -> float | None:
        """Joules of a step that takes at most `upper_us` microseconds; None: nobody measured."""
        energy = self.calibration.energy
        if energy is None:
            return None
        estimated = energy.watts * upper_us * 1e-6
        return energy.joules.get(step.name, estimated) if isinstance(step, Block) else estimated
