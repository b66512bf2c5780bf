"""Standing: how a measured network compares with what the solver promises of the others.

The errors that decide how far a promise may be trusted are told by the networks that were built.
"""

from collections.abc import Sequence
from math import fsum, isfinite, pi, sqrt

from compiler.assembly import Assembly
from compiler.certificate import Proof, Standing
from compiler.latency_model import Interval
from compiler.quality import Quality
from compiler.trial import Trial
from profilers.measurement import NORMAL_95
from targets.budget import Budget

PRIOR_ERROR = 0.1
"""Standard error of a predicted quality before any was checked; it counts as one observation."""

_MEAN_TO_STANDARD = sqrt(pi / 2)
"""Standard deviation of a normal error, by its mean absolute value."""


def standing(
    limits: Budget,
    best: Trial,
    trials: Sequence[Trial],
    promise: Assembly,
    predicted: Interval | None,
    drop_error: float | None = None,
) -> Standing:
    """How a measured network stands.

    Args:
        limits: what was asked for: with a least quality, latency is what is compared.
        best: the network, within the limits.
        trials: all networks measured so far: their predictions tell the error of the next.
        promise: the solver's answer over all networks but these.
        predicted: the latency of that answer; None where there is none.
        drop_error: mean absolute error of the drop model; None where it knows none.
    """
    if limits.min_quality is not None:
        return _by_latency(best, trials, promise, predicted)
    judged = best.candidate.judged.calibration
    return Standing(
        "quality",
        best.quality,
        promise.bound,
        promise.status,
        quality_error(trials, drop_error),
        sampling_error(judged),
    )


def by_score(best: Trial, promised: float | None, proof: Proof) -> Standing:
    """How a network stands that is chosen by a score: that is computed, and has no error.

    A score that is not finite is worse than any other. Where no more than that is promised, no
    network with a score is left.
    """
    assert best.score is not None, "it was chosen by its score"
    if promised is not None and not isfinite(promised):
        promised, proof = None, "infeasible"
    reached = best.score if isfinite(best.score) else None
    return Standing("score", reached, promised, proof, 0.0, 0.0)


def quality_error(trials: Sequence[Trial], drop_error: float | None = None) -> float:
    """Standard error of a stitched network's predicted quality, told by those that were built.

    The root mean square of measured minus expected, with what is known beforehand as one
    observation more: the drop model's own error, or `PRIOR_ERROR` where that is not known.
    """
    prior = PRIOR_ERROR if drop_error is None else drop_error * _MEAN_TO_STANDARD
    misses = [t.quality - t.expected for t in trials if t.candidate.blueprint.stitches]
    return sqrt(fsum([prior**2, *(miss**2 for miss in misses)]) / (1 + len(misses)))


def sampling_error(judged: Quality) -> float:
    """Standard error of a share that was counted on some images.

    Binomial, with two successes and two failures added, so that a network that is right on all of
    a few images is not taken for one without error (Agresti and Coull, 1998).
    """
    images = judged.images + 4
    share = (judged.score * judged.images + 2) / images
    return sqrt(share * (1 - share) / images)


def _by_latency(
    best: Trial, trials: Sequence[Trial], promise: Assembly, predicted: Interval | None
) -> Standing:
    """The prediction's error is its own margin, or what stitched networks missed by, if more."""
    latency = best.candidate.latency
    stated = 0.0 if predicted is None else predicted.margin_us / NORMAL_95
    misses = [
        t.candidate.latency.median_us - t.predicted.median_us
        for t in trials
        if t.candidate.blueprint.stitches
    ]
    seen = sqrt(fsum(miss**2 for miss in misses) / len(misses)) if misses else 0.0
    return Standing(
        "latency_us",
        latency.upper_us,
        promise.bound,
        promise.status,
        max(stated, seen),
        (latency.upper_us - latency.median_us) / NORMAL_95,
    )
