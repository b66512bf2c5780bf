"""Drop model: how much quality a stitch costs, told beforehand by a monotone fit.

A stitch's drop is a sum of terms, each of which grows with something bad about it and never falls:
what its least squares leave unexplained of the target's activation (1 - R2), how unlike the two
activations are (1 - CKA), the product of both, and whether it halves the resolution. Each of the
four is there twice, once by itself and once times the share of the donor that still follows: what
is wrong early has a longer way to go. All weights are fitted together to networks that were really
judged, by least squares in which none may be negative: so a drop is never negative, and a stitch
that is worse in every respect is never predicted to cost less.

Weights are drawn to a prior, so that few networks change them little; with none the drop is
`PRIOR_SLOPE` x (1 - R2). Drops of several stitches add, and so do their terms: networks of any
number of stitches can be fitted to.

The terms were chosen by leave-one-out error on judged networks of the demo zoo (`docs/quality.md`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from compiler.stitch_features import StitchFeatures
from targets.errors import UsageError

PRIOR_SLOPE = 0.25
"""Quality that is lost, before anything is judged, per share of variance left unexplained."""

PRIOR_WEIGHT = 0.2
"""Judged networks that the prior of each weight counts as much as."""

_BAD = ("residual", "dissimilarity", "residual x dissimilarity", "half resolution")
TERMS = (*_BAD, *(f"{name} x following" for name in _BAD))
"""What a drop is a sum of."""

Vector = NDArray[np.float64]


def terms(stitch: StitchFeatures) -> tuple[float, ...]:
    """The size of every term, in the order of `TERMS`."""
    both = stitch.unexplained * stitch.dissimilar
    bad = (stitch.unexplained, stitch.dissimilar, both, float(stitch.strided))
    return (*bad, *(amount * stitch.following for amount in bad))


def sloped(slope: float) -> tuple[float, ...]:
    """The weights of a drop that is `slope` x (1 - R2) and nothing else."""
    return (slope, *[0.0] * (len(TERMS) - 1))


PRIOR = sloped(PRIOR_SLOPE)


@dataclass(frozen=True, slots=True)
class DropObservation:
    """One network that was really judged.

    Attributes:
        stitches: of the network, in order.
        promised: its quality if its stitches cost nothing.
        measured: its quality.
    """

    stitches: tuple[StitchFeatures, ...]
    promised: float
    measured: float

    def __post_init__(self) -> None:
        """Refuse a network without stitches: it teaches nothing of them."""
        if not self.stitches:
            raise UsageError("A network without stitches tells nothing of drops. Leave it out.")

    @property
    def drop(self) -> float:
        """What its stitches cost; below 0 where it is better than promised."""
        return self.promised - self.measured


@dataclass(frozen=True, slots=True)
class DropModel:
    """Quality lost by a stitch; never negative, and no less for one that is worse in every respect.

    Attributes:
        weights: of the `TERMS`, none negative: quality that one of each costs.
        observations: networks it was fitted to.
        error: mean absolute error of their drops, each predicted by a fit to the others; None where
            there are fewer than two.
    """

    weights: tuple[float, ...] = PRIOR
    observations: int = 0
    error: float | None = None

    def __post_init__(self) -> None:
        """Refuse weights of other terms, and negative ones."""
        if len(self.weights) != len(TERMS) or not all(0.0 <= w < np.inf for w in self.weights):
            raise UsageError(
                f"A drop model has {len(TERMS)} weights, none negative; these are {self.weights}. "
                "Build again."
            )

    @property
    def named(self) -> dict[str, float]:
        """The weights by the names of their terms."""
        return dict(zip(TERMS, self.weights, strict=True))

    @staticmethod
    def of_slope(slope: float) -> "DropModel":
        """The model whose drop is `slope` x (1 - R2)."""
        return DropModel(sloped(slope))

    def drop(self, stitch: StitchFeatures) -> float:
        """Share of quality (0 to 1) that this stitch is expected to cost."""
        return fsum(weight * term for weight, term in zip(self.weights, terms(stitch), strict=True))

    def expected(self, seen: DropObservation) -> float:
        """The same of all stitches of a network."""
        return fsum(map(self.drop, seen.stitches))

    @staticmethod
    def fit(observations: Sequence[DropObservation]) -> "DropModel":
        """Least squares without negative weights, each drawn to its prior."""
        rows = np.array([_sums(seen) for seen in observations]).reshape(-1, len(TERMS))
        drops = np.array([seen.drop for seen in observations])
        weights = tuple(map(float, _weights(rows, drops)))
        return DropModel(weights, len(observations), _left_out(rows, drops))


FREE = DropModel.of_slope(0.0)
"""Stitches that cost nothing."""


def _sums(seen: DropObservation) -> list[float]:
    """Every term, over all stitches."""
    return [fsum(column) for column in zip(*map(terms, seen.stitches), strict=True)]


def _weights(rows: Vector, drops: Vector) -> Vector:
    """The weights, (terms,), of judged networks, (networks, terms), with drops, (networks,)."""
    drawn = np.sqrt(PRIOR_WEIGHT) * np.eye(len(TERMS))
    wanted = np.concatenate([drops, np.sqrt(PRIOR_WEIGHT) * np.array(PRIOR)])
    found, _ = nnls(np.vstack([rows, drawn]), wanted)
    return np.asarray(found)


def _left_out(rows: Vector, drops: Vector) -> float | None:
    """Mean absolute error where each network is predicted by a fit to the others."""
    if len(rows) < 2:
        return None
    errors = [
        abs(float(rows[i] @ _weights(np.delete(rows, i, 0), np.delete(drops, i))) - drops[i])
        for i in range(len(rows))
    ]
    return fmean(errors)
