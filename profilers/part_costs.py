"""`PartCosts`: what parts cost alone, measured, or estimated from those that were measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from profilers.least_squares import Matrix, Vector, non_negative
from profilers.parts import Cost, Kind, Part
from targets.errors import UsageError

_LEAST_ERROR = 0.05
_NO_ERROR_KNOWN = 0.5
_FOLDS = 10


@dataclass(frozen=True, slots=True)
class PartEstimate:
    """Latency alone, linear in what a part does: no coefficient is negative.

    t = a + b x MACs + c x bytes in and out + d x weight bytes + e x nodes, by least relative
    squares; without a for a part that is joined to a neighbour.

    Attributes:
        coefficients: a to e, in microseconds.
        error: relative root-mean-square error on parts left out of the fit, in ten folds.
        parts: how many parts it was fitted to.
    """

    coefficients: tuple[float, ...]
    error: float
    parts: int

    def estimate(self, part: Part) -> Cost:
        """What the part costs alone, with the fit's error as its standard error."""
        median = max(float(np.dot(_terms(part), self.coefficients)), 1e-3)
        return Cost(median, median * self.error)

    @staticmethod
    def fit(parts: Sequence[Part], costs: Mapping[str, Cost]) -> "PartEstimate | None":
        """Learns from the parts that have a cost, each key once; None where there is none."""
        known = {part.key: part for part in parts if part.key in costs}
        if not known:
            return None
        times = np.array([costs[key].median_us for key in known])
        terms = np.array([_terms(part) for part in known.values()]) / times[:, None]
        error = max(_held_out_error(terms), _LEAST_ERROR)
        return PartEstimate(tuple(_solve(terms).tolist()), error, len(known))


@dataclass(frozen=True, slots=True)
class PartCosts:
    """The cost of any part alone.

    Attributes:
        measured: by `Part.key`.
        estimates: for parts that were not measured, by their kind.
    """

    measured: Mapping[str, Cost]
    estimates: Mapping[Kind, PartEstimate]

    def knows(self, part: Part) -> bool:
        """Whether anything can be said of a part."""
        return part.key in self.measured or part.kind in self.estimates

    def of(self, part: Part) -> Cost:
        """What a part costs alone.

        Raises:
            UsageError: it was not measured, and no other of its kind was.
        """
        if part.key in self.measured:
            return self.measured[part.key]
        if part.kind not in self.estimates:
            raise UsageError(
                f"The {part.kind} {part.key!r} was not measured, and no other {part.kind} was from "
                f"which its latency could be estimated. Run derycc profile, for longer."
            )
        return self.estimates[part.kind].estimate(part)

    def knowing(self, measured: Mapping[str, Cost]) -> "PartCosts":
        """The same with more parts measured; estimates stay as they were fitted."""
        return PartCosts({**self.measured, **measured}, self.estimates)

    @staticmethod
    def learn(parts: Sequence[Part], measured: Mapping[str, Cost]) -> "PartCosts":
        """Takes what was measured and fits an estimate to each kind of part."""
        fits: dict[Kind, PartEstimate] = {}
        kinds: tuple[Kind, ...] = ("block", "stitch")
        for kind in kinds:
            fit = PartEstimate.fit([part for part in parts if part.kind == kind], measured)
            if fit is not None:
                fits[kind] = fit
        return PartCosts(measured, fits)


def _terms(part: Part) -> tuple[float, ...]:
    return (
        0.0 if part.joined else 1.0,
        float(part.macs),
        float(part.edge_bytes),
        float(part.weight_bytes),
        float(part.nodes),
    )


def _held_out_error(terms: Matrix) -> float:
    count = len(terms)
    folds = min(_FOLDS, count)
    if folds < 2:
        return _NO_ERROR_KNOWN
    errors = []
    for fold in range(folds):
        left_out = np.arange(count) % folds == fold
        errors.extend(terms[left_out] @ _solve(terms[~left_out]) - 1.0)
    return float(np.sqrt(np.mean(np.square(errors))))


def _solve(terms: Matrix) -> Vector:
    """Coefficients that bring every row closest to one."""
    return non_negative(terms, np.ones(len(terms)))
