"""Closed loop: solve, build, measure, correct the prediction, and solve again.

The solver believes a model of latency and a model of quality. Both are corrected by every network
that is really built: the latency of stitched networks by what their stitches cost beyond
prediction, the drop of a stitch by what it really cost. The loop ends when the best *measured*
network within the budget is as good as anything the solver still promises, or when the candidates
are used up.
"""

from collections.abc import Sequence
from dataclasses import replace

from compiler.assembly import Assembly, assemble, cheapest
from compiler.belief import Belief
from compiler.candidates import Candidates
from compiler.kept import chosen_by, keeps
from compiler.problem import Problem
from compiler.progress import Progress
from compiler.refusal import Question, refusal
from compiler.search_space import Space
from compiler.trial import Trial, ranked
from targets.budget import Budget
from targets.errors import InfeasibleError

MAX_CANDIDATES = 6
PATIENCE = 3
TIME_LIMIT_S = 60.0


class ClosedLoop:
    """Finds the best network within limits, by measurement."""

    def __init__(
        self,
        space: Space,
        candidates: Candidates,
        belief: Belief,
        progress: Progress,
        seed: int = 0,
        here: str = "",
    ) -> None:
        """Take the parts; `here` is what refusals call the target that is searched for."""
        self._space = space
        self._candidates = candidates
        self._belief = belief
        self._progress = progress
        self._seed = seed
        self.here = here

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
        believed = self._belief
        return self._space.problem(limits, believed.drops, believed.residual, believed.elsewhere)

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
        elsewhere = belief.predicted_on([t for t, _ in candidate.elsewhere], arcs, self._space)
        trial = Trial(
            assembly,
            predicted,
            expected,
            candidate,
            within,
            order,
            score,
            belief.now,
            elsewhere,
        )
        belief.learn(trial, self._space)
        return trial

    def _refuse(self, limits: Budget, answer: Assembly) -> None:
        self._progress.finish()
        if answer.status != "infeasible":
            raise InfeasibleError(
                f"The solver found no network within the limits in {TIME_LIMIT_S:.0f} s, and no "
                "proof that there is none. Use fewer donors or input sizes, or allow more latency."
            )
        question = Question(self.problem, self._space.blueprint, self._belief.excess, self.here)
        raise InfeasibleError(refusal(question, limits))

    def fastest(self, limits: Budget) -> Assembly:
        """The assembly of least latency under all limits but the one on latency."""
        return cheapest(self.problem(limits), "latency_us")


def _phase(limits: Budget) -> str:
    budget = "" if limits.latency_us is None else f" for {limits.latency_us / 1000:.2f} ms"
    return f"solving, building and measuring candidates{budget}"


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
