"""Certificate: the best measured network beside the best that the solver still promises.

What is promised is a bound on the *prediction* of every network that was not measured, under what
is believed at that moment. A prediction has an error, and so has the measurement it is compared
with: `interval` is the half-width of the 95 percent interval of their difference.
"""

from dataclasses import dataclass
from math import hypot, isfinite
from typing import Literal

from profilers.measurement import NORMAL_95
from targets.errors import UsageError

Holds = Literal["strict", "within interval", "none"]
"""`strict`: nothing unmeasured is promised better. `within interval`: not by more than that."""

Goal = Literal["quality", "latency_us", "score"]
Proof = Literal["optimal", "feasible", "infeasible", "unknown"]

Stopped = Literal["settled", "no gain", "nothing left", "candidates", "time", "solver"]
"""Why a search stopped: `settled`: its answer is certified strictly; `no gain`: it is certified
within the interval, and several candidates in a row were no better; `nothing left`: no other
network is predicted to be within the limits; `candidates`, `time`: as many were built as was asked
for, or as there was time for; `solver`: it found no other network in its time, and no proof."""

_SLACK = 1e-9
"""Sums of shares, and the solver's bounds, are no more exact than this, relative to their size."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the best measured network stands against the unmeasured ones.

    Attributes:
        goal: what is compared: quality (a share; more is better), latency_us (the upper end in
            microseconds; less is better) or a score (more is better).
        reached: the best measured network's; None: its score is not finite, worse than any other.
        promised: no unmeasured network within the limits is predicted better; None: there is none,
            or nothing is known.
        proof: the solver's status: "optimal": a network promises exactly that; "feasible" and
            "unknown": none promises more; "infeasible": no other network is within the limits, or
            none that has a finite score.
        model_error: standard error of the prediction.
        measured_error: standard error of `reached`.
    """

    goal: Goal
    reached: float | None
    promised: float | None
    proof: Proof
    model_error: float
    measured_error: float

    def __post_init__(self) -> None:
        """Refuse numbers that no file could hold, and that compare with nothing."""
        if not all(number is None or isfinite(number) for number in (self.reached, self.promised)):
            raise UsageError(
                f"A certificate compares {self.reached} with {self.promised}. Give finite numbers, "
                "or leave out what is none."
            )

    @property
    def interval(self) -> float:
        """Half-width of the 95 percent interval of promised minus reached."""
        return NORMAL_95 * hypot(self.model_error, self.measured_error)

    @property
    def gain(self) -> float | None:
        """How much better than `reached` the solver still promises; None where it says nothing."""
        if self.promised is None or self.reached is None:
            return None
        gain = self.promised - self.reached
        return -gain if self.goal == "latency_us" else gain

    @property
    def holds(self) -> Holds:
        """The strongest statement that is true."""
        gain = self.gain
        if gain is None or self.reached is None:
            return "strict" if self.proof == "infeasible" else "none"
        slack = _SLACK * max(1.0, abs(self.reached))
        if gain <= slack:
            return "strict"
        return "within interval" if gain <= self.interval + slack else "none"


@dataclass(frozen=True, slots=True)
class Met:
    """The measurement by which the limits are met: taken anew after the choice was made.

    Attributes:
        budget_us: what was asked for; None: there is no limit on latency.
        median_us: measured.
        upper_us: upper end of its 95 percent interval: what has to be within the budget.
        samples: timed units.
        noise: why to distrust it; None where nothing speaks against it.
    """

    budget_us: float | None
    median_us: float
    upper_us: float
    samples: int
    noise: str | None

    def __post_init__(self) -> None:
        """A budget that is missed is certified by nothing."""
        if self.budget_us is not None and self.upper_us > self.budget_us:
            raise UsageError(
                f"A certificate says that {self.upper_us} us keep a budget of {self.budget_us} us. "
                "Build again, or restore the file."
            )


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a finished search can say of its answer.

    Attributes:
        holds: the strongest statement that is true of networks that were not measured.
        stopped: why no more were built.
        met: how the budget is met.
        standing: what `holds` follows from.
        interval: half-width of the 95 percent interval, in the goal's unit.
        measured: networks that were built and measured.
        withdrawn: how many of them kept the limits at first and missed them when measured anew.
        elsewhere: how budgets on other targets are met, by target.
    """

    holds: Holds
    stopped: Stopped
    met: Met
    standing: Standing
    interval: float
    measured: int
    withdrawn: int
    elsewhere: tuple[tuple[str, Met], ...] = ()

    def __post_init__(self) -> None:
        """Refuse one that says more or less than its own numbers."""
        if self.holds != self.standing.holds:
            raise UsageError(
                f"A certificate says {self.holds!r}, and its numbers say {self.standing.holds!r}. "
                "Build again, or restore the file."
            )

    @staticmethod
    def of(
        standing: Standing, stopped: Stopped, met: Met, measured: int, withdrawn: int
    ) -> "Certificate":
        """What follows from the numbers."""
        return Certificate(
            standing.holds, stopped, met, standing, standing.interval, measured, withdrawn
        )
