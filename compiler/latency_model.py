"""Latency model: what blocks, stitches and whole networks cost, from measurements.

A block measured alone pays for layout changes at its edges that it does not pay inside a network.
Every donor is therefore measured whole as well, and its blocks are scaled so that they add up to
it: a pure donor's prediction is its measurement, and a mixed network's is close.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np
from scipy.optimize import nnls

from compiler.dissection import Block
from compiler.stitching import StitchShape

Estimate = Callable[[str], "Interval"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A latency in microseconds and the upper end of its 95 percent interval."""

    median_us: float
    upper_us: float

    @property
    def margin_us(self) -> float:
        """How far the upper end lies above the median."""
        return self.upper_us - self.median_us


def total(parts: Sequence[Interval]) -> Interval:
    """The sum; upper ends add, which is on the safe side."""
    return Interval(fsum(p.median_us for p in parts), fsum(p.upper_us for p in parts))


@dataclass(frozen=True, slots=True)
class StitchModel:
    """Stitch latency from its work and traffic, fitted to measured shapes.

    t = intercept + per_mac x MACs + per_byte x bytes in and out, no coefficient negative.

    Attributes:
        intercept_us: fixed cost of one stitch.
        per_mac_us: of one multiply-accumulate.
        per_byte_us: of one byte that comes in or goes out.
        error: relative root-mean-square error, each shape left out of its own fit.
        shapes: how many shapes were measured.
    """

    intercept_us: float
    per_mac_us: float
    per_byte_us: float
    error: float
    shapes: int

    def estimate(self, shape: StitchShape) -> Interval:
        """The median, and two errors above it."""
        median = (
            self.intercept_us
            + self.per_mac_us * shape.macs
            + self.per_byte_us * _traffic_bytes(shape)
        )
        return Interval(median, median * (1 + 2 * self.error))

    @staticmethod
    def fit(measured: Mapping[StitchShape, float]) -> "StitchModel":
        """Least relative squares over median latencies in microseconds by shape.

        Donors that no stitch can join have no shapes; their stitches, never used, cost nothing.
        """
        if not measured:
            return StitchModel(0.0, 0.0, 0.0, 0.0, 0)
        shapes = sorted(measured, key=str)
        times = np.array([measured[shape] for shape in shapes])
        terms = np.array([_terms(shape) for shape in shapes]) / times[:, None]
        errors = []
        for left_out in range(len(shapes)):
            rest = np.arange(len(shapes)) != left_out
            if rest.any():
                errors.append(float(terms[left_out] @ _nnls(terms[rest])) - 1.0)
        error = float(np.sqrt(np.mean(np.square(errors)))) if errors else 1.0
        intercept, per_mac, per_byte = _nnls(terms).tolist()
        return StitchModel(intercept, per_mac, per_byte, error, len(shapes))


def _terms(shape: StitchShape) -> tuple[float, float, float]:
    return 1.0, float(shape.macs), float(_traffic_bytes(shape))


def _traffic_bytes(shape: StitchShape) -> int:
    return 4 * sum(c * h * w for c, h, w in (shape.source, shape.target))


def _nnls(terms: np.ndarray) -> np.ndarray:
    """Non-negative coefficients that bring every row closest to one; columns are scaled."""
    scale = np.maximum(terms.max(axis=0), np.finfo(float).tiny)
    solution, _ = nnls(terms / scale, np.ones(len(terms)))
    return np.asarray(solution / scale)


class LatencyModel:
    """Predicts blocks and stitches in context."""

    def __init__(
        self,
        blocks: Mapping[str, Interval],
        wholes: Mapping[tuple[str, int], Interval],
        stitches: StitchModel,
    ) -> None:
        """Take what was measured.

        Args:
            blocks: every block alone, by `Block.name`.
            wholes: every donor uncut, by name and input size.
            stitches: the fitted stitch model.
        """
        self.stitches = stitches
        self.wholes = dict(wholes)
        self._alone = dict(blocks)
        self._sums = {key: self._sum(key) for key in wholes}
        ratios = [whole.median_us / self._sums[key].median_us for key, whole in wholes.items()]
        self._mean_ratio = float(np.mean(ratios))

    def block(self, block: Block) -> Interval:
        """A block inside a network.

        Its share of the donor's median is its own median's share of the blocks' sum; its share of
        the donor's margin is likewise that of its own margin.
        """
        key = block.model, block.size
        alone, blocks, whole = self._alone[block.name], self._sums[key], self.wholes[key]
        median = whole.median_us * alone.median_us / blocks.median_us
        margin = whole.margin_us * _uncertain(alone) / _uncertain(blocks)
        return Interval(median, median + margin)

    def stitch(self, shape: StitchShape) -> Interval:
        """A stitch inside a network: the model's estimate, scaled as blocks are on average."""
        alone = self.stitches.estimate(shape)
        return Interval(alone.median_us * self._mean_ratio, alone.upper_us * self._mean_ratio)

    def additivity_error(self, model: str, size: int) -> float:
        """By how much the sum of a donor's blocks exceeds the donor, as a share of the donor."""
        key = model, size
        return self._sums[key].median_us / self.wholes[key].median_us - 1.0

    def _sum(self, key: tuple[str, int]) -> Interval:
        model, size = key
        prefix = f"{model}@{size}/"
        return total([cost for name, cost in self._alone.items() if name.startswith(prefix)])


def _uncertain(interval: Interval) -> float:
    """The margin, never quite zero, so that a donor's margin can always be shared out."""
    return interval.margin_us + 1e-6 * interval.median_us
