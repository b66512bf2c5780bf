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

    def scaled(self, by: "Interval") -> "Interval":
        """Each end multiplied by the factor's own end."""
        return Interval(self.median_us * by.median_us, self.upper_us * by.upper_us)


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
        self._factors = {key: self._factor(key) for key in wholes}
        self._mean = _mean_factor(self._factors)

    def block(self, block: Block) -> Interval:
        """A block inside a network."""
        return self._alone[block.name].scaled(self._factors[block.model, block.size])

    def stitch(self, shape: StitchShape, size: int) -> Interval:
        """A stitch inside a network of this input size."""
        return self.stitches.estimate(shape).scaled(self._mean)

    def additivity_error(self, model: str, size: int) -> float:
        """By how much the sum of a donor's blocks exceeds the donor, as a share of the donor."""
        return 1.0 / self._factors[model, size].median_us - 1.0

    def _factor(self, key: tuple[str, int]) -> Interval:
        model, size = key
        prefix = f"{model}@{size}/"
        alone = total([cost for name, cost in self._alone.items() if name.startswith(prefix)])
        whole = self.wholes[key]
        return Interval(whole.median_us / alone.median_us, whole.upper_us / alone.upper_us)


def _mean_factor(factors: Mapping[tuple[str, int], Interval]) -> Interval:
    return Interval(
        float(np.mean([factor.median_us for factor in factors.values()])),
        float(np.mean([factor.upper_us for factor in factors.values()])),
    )
