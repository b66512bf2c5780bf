"""Searched: what a search found, and what it leaves open."""

from dataclasses import dataclass, replace

from compiler.certificate import Certificate, Met, Standing, Stopped
from compiler.trial import Trial
from profilers.measurement import Measurement
from targets.budget import Budget


@dataclass(frozen=True, slots=True)
class Searched:
    """Every network that was tried, and why no more were.

    Attributes:
        trials: the best first.
        stopped: why the search ended.
    """

    trials: tuple[Trial, ...]
    stopped: Stopped


def certified(found: Searched, best: Trial, standing: Standing, limits: Budget) -> Certificate:
    """The certificate of a search whose best network was measured anew and keeps the limits.

    Args:
        found: the search.
        best: its answer, with the new measurement.
        standing: of the answer, after the last network was tried.
        limits: what was asked for.
    """
    met = _met(limits.latency_us, best.candidate.latency)
    budgets = dict(limits.elsewhere)
    others = tuple((t, _met(budgets.get(t), m)) for t, m in best.candidate.elsewhere)
    withdrawn = sum(trial.first is not None and not trial.within for trial in found.trials)
    made = Certificate.of(standing, found.stopped, met, len(found.trials), withdrawn)
    return replace(made, elsewhere=others)


def _met(budget_us: float | None, latency: Measurement) -> Met:
    return Met(budget_us, latency.median_us, latency.upper_us, latency.n, latency.noise)
