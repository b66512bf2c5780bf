"""The part of a manifest that tells how the closed loop went: one entry for every candidate."""

from pydantic.dataclasses import dataclass

from derycc.manifest_asked import Beliefs


@dataclass(frozen=True, slots=True)
class Answer:
    """The solver's answer that became a candidate.

    Attributes:
        status: optimal: proven best of those that were not tried, by what was believed then;
            feasible: not proven, or the best whole donor, which is tried first.
        objective: expected quality, or latency in microseconds where a least quality was asked for.
        bound: none that was not tried is promised better; None: nothing was proven.
        seconds: that the answer took.
    """

    status: str
    objective: float | None
    bound: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Again:
    """A second measurement: of the network that was chosen, and of those that had been before it.

    Attributes:
        measured_us: its median.
        measured_interval_us: its 95 percent interval.
        noisy: whether it should not be trusted.
        kept: whether the limits are kept by it; if not, the network was given up.
    """

    measured_us: float
    measured_interval_us: tuple[float, float]
    noisy: bool
    kept: bool


@dataclass(frozen=True, slots=True)
class Round:
    """One candidate: what was believed, answered, predicted, measured and learned.

    Attributes:
        number: of the solve that chose it; 0: the best whole donor, which is tried first.
        network: what it is made of.
        before: what its prediction was made by.
        answer: the solver's.
        predicted_us: latency.
        predicted_upper_us: its upper end, which has to be within the budget.
        expected: quality on the calibration images.
        measured_us: latency, as it was when it was tried.
        measured_interval_us: its 95 percent interval.
        noisy: whether that should not be trusted.
        quality: measured on the calibration images.
        within_limits: whether all limits were kept.
        learned: what was believed afterwards.
        seconds: wall time that building, judging and measuring it took.
        again: how it was measured anew; None: it was not chosen.
    """

    number: int
    network: str
    before: Beliefs | None
    answer: Answer
    predicted_us: float
    predicted_upper_us: float
    expected: float
    measured_us: float
    measured_interval_us: tuple[float, float]
    noisy: bool
    quality: float
    within_limits: bool
    learned: Beliefs | None
    seconds: float
    again: Again | None
