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
from compiler.kept import ENERGY, MEMORY, SCARCE, chosen_by, keeps, measured
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.problem import Problem
from compiler.progress import Progress
from compiler.refusal import Question, refusal
from compiler.search_space import Space
from targets.budget import Budget
from targets.errors import InfeasibleError

MAX_CANDIDATES = 6
PATIENCE = 3
TIME_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Believed:
    """What a prediction was made by: the belief of the loop at that moment.

    Attributes:
        drops: expected drop of a stitch.
        residual: what a stitch costs beyond its own layer.
        excess: factors by which memory and energy were taken to exceed their prediction.
    """

    drops: DropModel
    residual: Interval
    excess: tuple[tuple[str, float], ...] = ()


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
    """

    assembly: Assembly
    predicted: Interval
    expected: float
    candidate: Candidate
    within: bool
    order: int
    score: float | None = None
    believed: Believed | None = None

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
        excess: how many times its prediction a network took of a resource at the most, where that
            was more than predicted: of peak memory and energy.
    """

    drops: DropModel = field(default_factory=DropModel)
    residuals: dict[Blueprint, Interval] = field(default_factory=dict)
    observations: dict[Blueprint, DropObservation] = field(default_factory=dict)
    excess: dict[str, float] = field(default_factory=dict)

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

    @property
    def now(self) -> Believed:
        """What is believed at this moment."""
        return Believed(self.drops, self.residual, tuple(sorted(self.excess.items())))

    def tightened(self, limits: Budget) -> Budget:
        """The limits with which predictions keep what measurements are to keep."""
        memory, energy = limits.memory_bytes, limits.energy_j
        factor = self.excess.get
        return replace(
            limits,
            memory_bytes=None if memory is None else max(1, int(memory / factor(MEMORY, 1.0))),
            energy_j=None if energy is None else energy / factor(ENERGY, 1.0),
        )

    def learn(self, trial: Trial, space: Space) -> None:
        """Take in what a network really cost: its stitches, its memory and its energy."""
        for name, amount in measured(trial.candidate, SCARCE):
            predicted = trial.assembly.cost(name)
            if predicted and amount > predicted * self.excess.get(name, 1.0):
                self.excess[name] = amount / predicted
        self._learn_stitches(trial, space)

    def _learn_stitches(self, trial: Trial, space: Space) -> None:
        """One without any teaches nothing."""
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
        self, limits: Budget, most: int = MAX_CANDIDATES, before: Sequence[Trial] = ()
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
            if not assembly.found or _settled(limits, trials, assembly):
                break
            self._progress.update(len(trials), str(self._space.blueprint(assembly.arcs)))
            trials.append(self._try(assembly, limits, len(trials)))
        self._progress.finish()
        return ranked(*trials)

    def _solve(self, limits: Budget, trials: Sequence[Trial]) -> Assembly:
        problem = self.problem(limits)
        tried = [frozenset(trial.assembly.arcs) for trial in trials]
        return assemble(problem, time_limit_s=TIME_LIMIT_S, seed=self._seed, forbid=tried)

    def problem(self, limits: Budget) -> Problem:
        """The assembly program as the loop believes it by now."""
        limits = self._belief.tightened(limits)
        return self._space.problem(limits, self._belief.drops, self._belief.residual)

    def _whole_donor(self, limits: Budget) -> list[Trial]:
        """The best donor that fits whole: its quality is known, and stitches have to beat it."""
        alone = self._solve(replace(limits, stitches=0), ())
        if not alone.found:
            return []
        best = self._solve(limits, ())
        if best.arcs != alone.arcs:
            alone = replace(alone, status="feasible", bound=best.bound, gap=None)
        return [self._try(alone, limits, 0)]

    def _try(self, assembly: Assembly, limits: Budget, order: int) -> Trial:
        arcs, belief = assembly.arcs, self._belief
        predicted = self._space.latency(arcs, belief.residual)
        expected = self._space.expected(arcs, belief.drops)
        candidate = self._candidates.make(self._space.blueprint(arcs))
        within = keeps(limits, candidate)
        score = chosen_by(limits, candidate)
        trial = Trial(assembly, predicted, expected, candidate, within, order, score, belief.now)
        belief.learn(trial, self._space)
        return trial

    def _refuse(self, limits: Budget, answer: Assembly) -> None:
        self._progress.finish()
        if answer.status != "infeasible":
            raise InfeasibleError(
                f"The solver found no network within the limits in {TIME_LIMIT_S:.0f} s, and no "
                "proof that there is none. Use fewer donors or input sizes, or allow more latency."
            )
        question = Question(self.problem, self._space.blueprint, self._belief.excess)
        raise InfeasibleError(refusal(question, limits))

    def fastest(self, limits: Budget) -> Assembly:
        """The assembly of least latency under all limits but the one on latency."""
        return cheapest(self.problem(limits), "latency_us")


def _phase(limits: Budget) -> str:
    budget = "" if limits.latency_us is None else f" for {limits.latency_us / 1000:.2f} ms"
    return f"solving, building and measuring candidates{budget}"


def ranked(*trials: Trial) -> tuple[Trial, ...]:
    """Trials, best first."""
    return tuple(sorted(trials, key=lambda trial: trial.rank, reverse=True))


def _settled(limits: Budget, trials: Sequence[Trial], promise: Assembly) -> bool:
    """Whether the best measured network is as good as the best that is still promised.

    Also true when several candidates in a row have not improved on it.
    """
    within = [trial for trial in trials if trial.within]
    if not within or promise.bound is None:
        return False
    best = max(within, key=lambda trial: trial.rank)
    without_gain = max(trial.order for trial in trials) - best.order
    if limits.min_quality is not None:
        reached = best.candidate.latency.upper_us <= promise.bound
    else:
        reached = best.quality >= promise.bound
    return without_gain >= PATIENCE or reached
