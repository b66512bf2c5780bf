"""Trial: one candidate of a search, with what was predicted of it and what was measured."""

from dataclasses import dataclass

from compiler.assembly import Assembly
from compiler.believed import Believed
from compiler.candidates import Candidate
from compiler.latency_model import Interval
from profilers.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate: what was predicted of it and what was measured.

    Attributes:
        assembly: the solver's answer, with status, bound and gap.
        predicted: latency as the model saw it, with what the loop had learned by then.
        expected: quality on the calibration images as the solver saw it.
        candidate: the network, judged and measured.
        within: whether the upper end of its measured latency is within the budget.
        order: how many candidates of the search came before it.
        score: what it is chosen by, where that is not its quality.
        believed: what predictions were made by; None where nobody noted it.
        elsewhere: the predicted latency on other targets, by target.
        learned: what was believed after it was measured; None likewise.
        round: how many solves of the search came before the one that chose it.
        seconds: wall time that building, judging and measuring it took, when that was done.
        first: what decided when it was tried, where `candidate` was measured anew since.
    """

    assembly: Assembly
    predicted: Interval
    expected: float
    candidate: Candidate
    within: bool
    order: int
    score: float | None = None
    believed: Believed | None = None
    elsewhere: tuple[tuple[str, Interval], ...] = ()
    learned: Believed | None = None
    round: int = 0
    seconds: float = 0.0
    first: Measurement | None = None

    @property
    def quality(self) -> float:
        """Measured quality on the calibration images: what choices are made by."""
        return self.candidate.judged.score

    @property
    def whole_donor(self) -> bool:
        """Whether it was tried as the donor to beat, not as the solver's answer."""
        stitched = self.candidate.blueprint.stitches
        return self.order == 0 and not stitched and self.assembly.status == "feasible"

    @property
    def rank(self) -> tuple[bool, float, float, float]:
        """Larger is better: within the budget, then quality or score, agreement and speed."""
        chosen_by = self.quality if self.score is None else self.score
        agreement = self.candidate.judged.calibration.agreement
        return self.within, chosen_by, agreement, -self.candidate.latency.median_us


def ranked(*trials: Trial) -> tuple[Trial, ...]:
    """Trials, best first."""
    return tuple(sorted(trials, key=lambda trial: trial.rank, reverse=True))
