"""Latency model: what blocks and stitches cost inside a network, as the assembly wants it.

It is `profilers.prediction.LatencyPredictor` in the compiler's terms. Every cost belongs to one
arc, so that a network's latency is the sum over its path: what an engine costs once goes to the
block at the input, what its output's edge costs to the block at the output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum
from statistics import median

from compiler.compatibility import StitchOption
from compiler.dissection import Block
from compiler.parts import DonorParts, seam, stitch_part
from compiler.seams import PLAIN, Seam
from compiler.stitching import StitchShape
from profilers.measurement import NORMAL_95
from profilers.parts import Part
from profilers.prediction import LatencyPredictor

UNKNOWN_ERROR = 0.05
"""Relative standard error of predictions where no whole network was measured to tell it by."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A latency in microseconds and the upper end of its 95 percent interval."""

    median_us: float
    upper_us: float

    @property
    def margin_us(self) -> float:
        """How far the upper end lies above the median."""
        return self.upper_us - self.median_us

    def times(self, factor: float) -> "Interval":
        """Both ends multiplied."""
        return Interval(self.median_us * factor, self.upper_us * factor)


@dataclass(frozen=True, slots=True)
class Residual:
    """What predictions are corrected by.

    Attributes:
        median_us: what a stitch costs beyond its own layer, in microseconds; may be negative.
        upper_us: the upper end of that.
        int8: factor on the latency of blocks in int8.
    """

    median_us: float
    upper_us: float
    int8: float = 1.0


def total(parts: Sequence[Interval]) -> Interval:
    """The sum; upper ends add, which is on the safe side."""
    return Interval(fsum(p.median_us for p in parts), fsum(p.upper_us for p in parts))


class LatencyModel:
    """Predicts blocks and stitches in context."""

    def __init__(
        self,
        predictor: LatencyPredictor,
        donors: Mapping[tuple[str, int], DonorParts],
        wholes: Mapping[tuple[str, int], Interval],
        error: float | None = None,
    ) -> None:
        """Take what was learned.

        Args:
            predictor: fitted to everything that was measured.
            donors: every donor's parts, by name and input size.
            wholes: every donor's measured latency, by name and input size.
            error: relative error of predictions; None: what the predictor says of itself.
        """
        known = predictor.relative_error if error is None else error
        self.error = UNKNOWN_ERROR if known is None else known
        self.predictor = predictor
        self.wholes = dict(wholes)
        self._parts = {
            name: part
            for donor in donors.values()
            for name, part in zip(donor.names, donor.chain, strict=True)
        }
        self._donors = dict(donors)

    def block(self, block: Block, part: Part | None = None) -> Interval:
        """A block inside a network.

        Its margin is its share of its donor's, by latency: a whole donor keeps its own interval.

        Args:
            block: whose place in the donor counts.
            part: what it costs; None: as the block in float does.
        """
        key = block.model, block.size
        known = self._parts[block.name] if part is None else part
        inside = self.predictor.term(known).total_us + self._outside(block)
        whole = self.wholes.get(key)
        share = NORMAL_95 * self.error if whole is None else whole.margin_us / whole.median_us
        return Interval(inside, inside * (1.0 + share))

    def seam(self, option: StitchOption) -> Seam:
        """What a stitch lies between."""
        left = self._donors[option.source_model, option.size]
        right = self._donors[option.target_model, option.size]
        return seam(left, option.source.name, right, option.target.name)

    def stitch(self, shape: StitchShape, between: Seam = PLAIN) -> Interval:
        """A stitch inside a network, or by how much it makes a neighbour grow.

        Its margin is that of its own estimate, and what a prediction is usually off by: only
        networks with stitches have not been measured whole.
        """
        part = stitch_part(shape, between)
        inside = self.predictor.term(part).total_us
        own = NORMAL_95 * self.predictor.alone.of(part).error_us
        return Interval(inside, inside + own + self._margin_us)

    def part(self, block: Block) -> Part:
        """The block in float as a part."""
        return self._parts[block.name]

    def additivity_error(self, model: str, size: int) -> float:
        """By how much the plain sum of a donor's blocks exceeds the donor, as a share of it."""
        alone = fsum(
            self.predictor.alone.of(part).median_us for part in self._donors[model, size].chain
        )
        return alone / self.wholes[model, size].median_us - 1.0

    @cached_property
    def _margin_us(self) -> float:
        """Half of the 95 percent interval of a prediction, for a network of usual latency."""
        usual = [whole.median_us for whole in self.wholes.values()] or [
            self.predictor.expected_us(donor.chain) for donor in self._donors.values()
        ]
        return NORMAL_95 * self.error * median(usual)

    def _outside(self, block: Block) -> float:
        part, context = self._parts[block.name], self.predictor.context
        first = block.start.depth == 0.0
        last = block.end.depth == 1.0
        edges = first * part.input_bytes + last * part.output_bytes
        return first * context.engine_us + context.edge_byte_us * edges
