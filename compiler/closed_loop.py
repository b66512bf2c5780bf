"""Closed loop: solve, build, measure, correct the prediction, and solve again.

The solver believes a model of latency and a model of quality. Both are corrected by every network
that is really built: the latency of stitched networks by what their stitches cost beyond
prediction, the drop of a stitch by what it really cost. The loop ends when the best *measured*
network within the budget is as good as anything the solver still promises, or when the candidates
are used up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compiler.assembly import Assembly, assemble, cheapest
from compiler.candidates import Candidate, Candidates
from compiler.drop_model import DropModel, DropObservation
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.progress import Progress
from compiler.search_space import Limits, Space
from targets.errors import InfeasibleError

MAX_CANDIDATES = 6
PATIENCE = 3
TIME_LIMIT_S = 60.0


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
    """

    assembly: Assembly
    predicted: Interval
    expected: float
    candidate: Candidate
    within: bool
    order: int
    score: float | None = None

    @property
    def quality(self) -> float:
        """Measured quality on the calibration images: what choices are made by."""
        return self.candidate.judged.score

    @property
    def whole_donor(self) -> bool:
        """Whether it was tried as the donor to beat, not as the solver's answer."""
        return self.order == 0 and self.assembly.status == "feasible"

    @property
    def rank(self) -> tuple[bool, float, float, float]:
        """Larger is better: within the budget, then quality or score, agreement and speed."""
        chosen_by = self.quality if self.score is None else self.score
        agreement = self.candidate.judged.calibration.agreement
        return self.within, chosen_by, agreement, -self.candidate.latency.median_us


@dataclass(slots=True)
class Belief:
    """What the loop has learned; shared by the builds of a sweep.

    Attributes:
        drops: expected drop of a stitch.
        residuals: measured minus predicted latency, per stitch, of every stitched network so far.
        observations: what the drop model is fitted to, by network.
    """

    drops: DropModel = field(default_factory=DropModel)
    residuals: dict[Blueprint, Interval] = field(default_factory=dict)
    observations: dict[Blueprint, DropObservation] = field(default_factory=dict)

    @property
    def residual(self) -> Interval:
        """What a stitch costs beyond its own layer, in microseconds; may be negative.

        The median of what was seen, and for the upper end its third quartile.
        """
        if not self.residuals:
            return Interval(0.0, 0.0)
        seen = self.residuals.values()
        middle = float(np.median([residual.median_us for residual in seen]))
        upper = float(np.quantile([residual.upper_us for residual in seen], 0.75))
        return Interval(middle, max(middle, upper))

    def learn(self, trial: Trial, space: Space) -> None:
        """Take in what a network's stitches really cost; one without any teaches nothing."""
        arcs, latency = trial.assembly.arcs, trial.candidate.latency
        blueprint = trial.candidate.blueprint
        stitches = blueprint.stitches
        if not stitches:
            return
        raw = space.latency(arcs, Interval(0.0, 0.0))
        self.residuals[blueprint] = Interval(
            (latency.median_us - raw.median_us) / stitches,
            (latency.upper_us - raw.upper_us) / stitches,
        )
        drop = space.promised(arcs) - trial.quality
        self.observations[blueprint] = DropObservation(space.unexplained(arcs), drop)
        self.drops = DropModel.fit(tuple(self.observations.values()))


class ClosedLoop:
    """Finds the best network within limits, by measurement."""

    def __init__(
        self,
        space: Space,
        candidates: Candidates,
        belief: Belief,
        progress: Progress,
        seed: int = 0,
    ) -> None:
        self._space = space
        self._candidates = candidates
        self._belief = belief
        self._progress = progress
        self._seed = seed

    def search(
        self, limits: Limits, most: int = MAX_CANDIDATES, before: Sequence[Trial] = ()
    ) -> tuple[Trial, ...]:
        """Every candidate tried, best first.

        Args:
            limits: the budgets; latency in microseconds bounds the measured upper end.
            most: candidates to build at the most, the best whole donor not counted.
            before: trials of an earlier search under the same limits; they count.

        Raises:
            InfeasibleError: no assembly is within the limits; says the fastest possible.
        """
        self._progress.start(_phase(limits), most)
        trials = list(before) or self._whole_donor(limits)
        most += sum(trial.whole_donor for trial in trials)
        while len(trials) < most:
            assembly = self._solve(limits, trials)
            if not assembly.found and not trials:
                self._refuse(limits, assembly)
            if not assembly.found or _settled(trials, assembly):
                break
            self._progress.update(len(trials), str(self._space.blueprint(assembly.arcs)))
            trials.append(self._try(assembly, limits, len(trials)))
        self._progress.finish()
        return ranked(*trials)

    def _solve(self, limits: Limits, trials: Sequence[Trial]) -> Assembly:
        problem = self._space.problem(limits, self._belief.drops, self._belief.residual)
        tried = [frozenset(trial.assembly.arcs) for trial in trials]
        return assemble(problem, time_limit_s=TIME_LIMIT_S, seed=self._seed, forbid=tried)

    def _whole_donor(self, limits: Limits) -> list[Trial]:
        """The best donor that fits whole: its quality is known, and stitches have to beat it."""
        alone = self._solve(replace(limits, stitches=0), ())
        if not alone.found:
            return []
        best = self._solve(limits, ())
        if best.arcs != alone.arcs:
            alone = replace(alone, status="feasible", bound=best.bound, gap=None)
        return [self._try(alone, limits, 0)]

    def _try(self, assembly: Assembly, limits: Limits, order: int) -> Trial:
        assert assembly.objective is not None
        predicted = self._space.latency(assembly.arcs, self._belief.residual)
        candidate = self._candidates.make(self._space.blueprint(assembly.arcs))
        within = keeps(limits, candidate)
        trial = Trial(assembly, predicted, assembly.objective, candidate, within, order)
        self._belief.learn(trial, self._space)
        return trial

    def _refuse(self, limits: Limits, answer: Assembly) -> None:
        fastest = self.fastest(limits)
        self._progress.finish()
        if answer.status != "infeasible":
            raise InfeasibleError(
                f"The solver found no network within the limits in {TIME_LIMIT_S:.0f} s, and no "
                "proof that there is none. Use fewer donors or input sizes, or allow more latency."
            )
        raise InfeasibleError(_refusal(limits, fastest, self._space))

    def fastest(self, limits: Limits) -> Assembly:
        """The assembly of least latency under all limits but the one on latency."""
        problem = self._space.problem(limits, self._belief.drops, self._belief.residual)
        return cheapest(problem, "latency_us")


def keeps(limits: Limits, candidate: Candidate) -> bool:
    """Whether the upper end of a candidate's measured latency is within the limits."""
    return limits.latency_us is None or candidate.latency.upper_us <= limits.latency_us


def _phase(limits: Limits) -> str:
    budget = "" if limits.latency_us is None else f" for {limits.latency_us / 1000:.2f} ms"
    return f"solving, building and measuring candidates{budget}"


def ranked(*trials: Trial) -> tuple[Trial, ...]:
    """Trials, best first."""
    return tuple(sorted(trials, key=lambda trial: trial.rank, reverse=True))


def _settled(trials: Sequence[Trial], promise: Assembly) -> bool:
    """Whether the best measured network is as good as the best that is still promised.

    Also true when several candidates in a row have not improved on it.
    """
    within = [trial for trial in trials if trial.within]
    if not within or promise.bound is None:
        return False
    best = max(within, key=lambda trial: trial.rank)
    without_gain = max(trial.order for trial in trials) - best.order
    return without_gain >= PATIENCE or best.quality >= promise.bound


def _refusal(limits: Limits, fastest: Assembly, space: Space) -> str:
    asked = f"{limits.latency_us / 1000:.3g} ms" if limits.latency_us is not None else "the budget"
    if not fastest.found:
        return (
            f"No network of this zoo is within the limits on stitches, parameters and MACs, at "
            f"whatever latency (asked for: {asked}). Allow more of them, or add smaller donors."
        )
    return (
        f"No network of this zoo is predicted to run within {asked}. The fastest possible takes "
        f"{fastest.cost('latency_us') / 1000:.3g} ms (upper end): "
        f"{space.blueprint(fastest.arcs)}. Ask for that much, allow more stitches, or add faster "
        "donors."
    )
