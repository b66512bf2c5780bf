"""Papers: what a manifest says of how the closed loop went."""

from collections.abc import Sequence

from compiler.believed import Believed
from compiler.trial import Trial
from derycc.manifest_asked import Beliefs
from derycc.manifest_loop import Again, Answer, Round
from derycc.papers_asked import noted_beliefs
from profilers.measurement import Measurement


def rounds(trials: Sequence[Trial]) -> tuple[Round, ...]:
    """Every candidate in the order in which they were tried."""
    return tuple(map(_round, sorted(trials, key=lambda trial: trial.order)))


def _round(trial: Trial) -> Round:
    latest = trial.candidate.latency
    latency = trial.first or latest
    return Round(
        number=trial.round,
        network=str(trial.candidate.blueprint),
        before=_noted(trial.believed),
        answer=_answer(trial),
        predicted_us=trial.predicted.median_us,
        predicted_upper_us=trial.predicted.upper_us,
        expected=trial.expected,
        measured_us=latency.median_us,
        measured_interval_us=latency.interval_us,
        noisy=latency.noisy,
        quality=trial.quality,
        within_limits=trial.within or trial.first is not None,
        learned=_noted(trial.learned),
        seconds=trial.seconds,
        again=None if trial.first is None else _again(latest, trial.within),
    )


def _noted(believed: Believed | None) -> Beliefs | None:
    return None if believed is None else noted_beliefs(believed)


def _answer(trial: Trial) -> Answer:
    answer = trial.assembly
    return Answer(answer.status, answer.objective, answer.bound, answer.wall_s)


def _again(latency: Measurement, kept: bool) -> Again:
    return Again(latency.median_us, latency.interval_us, latency.noisy, kept)
