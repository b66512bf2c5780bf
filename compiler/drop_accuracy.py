"""Drop accuracy: how well drops are predicted that took no part in the fit, beside baselines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np

from compiler.drop_model import DropModel, DropObservation
from compiler.ranks import spearman
from targets.errors import UsageError

Predictor = Callable[[DropObservation], float]
Fit = Callable[[Sequence[DropObservation]], Predictor]

LEAST = 6
"""Networks that are needed to split them in halves: a rank correlation of two says nothing."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What one way of predicting drops is worth on networks that it was not fitted to.

    Attributes:
        name: of the way.
        networks: that were predicted.
        correlation: Spearman's, of predicted and measured drop; None where one of the two is the
            same for all.
        error: mean absolute error, in quality from 0 to 1.
    """

    name: str
    networks: int
    correlation: float | None
    error: float


def _model(seen: Sequence[DropObservation]) -> Predictor:
    return DropModel.fit(seen).expected


def _proportional(
    amount: Callable[[DropObservation], float], seen: Sequence[DropObservation]
) -> Predictor:
    """Least squares through the origin: the drop is so many times the amount."""
    amounts = np.array([amount(one) for one in seen])
    drops = np.array([one.drop for one in seen])
    square = float(amounts @ amounts)
    slope = float(amounts @ drops) / square if square else 0.0
    return lambda one: slope * amount(one)


def _stitches(one: DropObservation) -> float:
    return float(len(one.stitches))


def _residual(one: DropObservation) -> float:
    return sum(stitch.unexplained for stitch in one.stitches)


def _dissimilar(one: DropObservation) -> float:
    return sum(stitch.dissimilar for stitch in one.stitches)


WAYS: Mapping[str, Fit] = {
    "model": _model,
    "constant": partial(_proportional, _stitches),
    "residual": partial(_proportional, _residual),
    "similarity": partial(_proportional, _dissimilar),
}
"""Ways of predicting a drop: the model that builds use, the same for every stitch, in proportion to
1 - R2, and in proportion to 1 - CKA."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Networks predicted from others.

    Attributes:
        predicted: drop of every network, by the model, fitted to the half that lacks it.
        accuracies: of every way, over all networks.
    """

    predicted: tuple[float, ...]
    accuracies: tuple[Accuracy, ...]


def transferred(
    seen: Sequence[DropObservation], unseen: Sequence[DropObservation]
) -> tuple[Accuracy, ...]:
    """Every way fitted to some networks, and how well it predicts others."""
    return tuple(_accuracy(way, _predicted(way, seen, unseen), unseen) for way in WAYS)


def held_out(seen: Sequence[DropObservation], seed: int = 0) -> HeldOut:
    """Every way fitted to one random half and tried on the other, both ways round.

    Errors are of all networks; correlations are taken within each half and averaged, since the two
    halves are predicted by two fits.

    Raises:
        UsageError: fewer than six networks.
    """
    if len(seen) < LEAST:
        raise UsageError(
            f"{len(seen)} judged networks are too few to hold half of them out. Judge at least "
            f"{LEAST}."
        )
    order = np.random.default_rng(seed).permutation(len(seen))
    first, second = ([int(i) for i in part] for part in np.array_split(order, 2))
    predicted = [0.0] * len(seen)
    accuracies: list[list[Accuracy]] = []
    for fitted, tried in ((second, first), (first, second)):
        inside, outside = [seen[i] for i in fitted], [seen[i] for i in tried]
        accuracies.append(list(transferred(inside, outside)))
        for i, drop in zip(tried, _predicted("model", inside, outside), strict=True):
            predicted[i] = drop
    return HeldOut(tuple(predicted), tuple(map(_mean, *accuracies)))


def _predicted(
    way: str, seen: Sequence[DropObservation], unseen: Sequence[DropObservation]
) -> list[float]:
    predict = WAYS[way](seen)
    return [predict(one) for one in unseen]


def _accuracy(way: str, predicted: list[float], unseen: Sequence[DropObservation]) -> Accuracy:
    drops = [one.drop for one in unseen]
    error = fmean(abs(a - b) for a, b in zip(predicted, drops, strict=True))
    return Accuracy(way, len(unseen), spearman(predicted, drops), error)


def _mean(first: Accuracy, second: Accuracy) -> Accuracy:
    """Of two halves."""
    known = [c for c in (first.correlation, second.correlation) if c is not None]
    networks = first.networks + second.networks
    error = first.error * first.networks + second.error * second.networks
    return Accuracy(first.name, networks, fmean(known) if known else None, error / networks)
