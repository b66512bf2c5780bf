"""Closed loop: solve, build, measure, correct the prediction, and solve again.

The solver believes a model of latency and a model of quality. Both are corrected by every network
that is really built: the latency of stitched networks by what their stitches cost beyond
prediction, the drop of a stitch by what it really cost. The loop ends when nothing that was not
built is promised to be better than the best *measured* network within the limits; or, after some
candidates without gain, when nothing is promised to be better by more than the prediction's
interval; or when candidates or time are used up.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isclose

from compiler.assembly import Assembly, assemble, cheapest
from compiler.belief import Belief
from compiler.candidates import Candidates
from compiler.certificate import Certificate, Standing, Stopped
from compiler.effort import Effort
from compiler.journal import Answers, Journals, unwritten
from compiler.problem import Problem
from compiler.progress import Progress
from compiler.refusal import Question, refusal
from compiler.search_space import Space
from compiler.searched import Searched, certified
from compiler.standing import standing
from compiler.trial import Trial, ranked
from compiler.tries import Tries
from targets.budget import Budget
from targets.errors import InfeasibleError

PATIENCE = 3

_HOPE, _HOPES = 1.5, 3
"""How far above a limit the upper end of a donor may be that is tried all the same, and how many
of these are looked at for each that is tried."""
_GAIN = 1e-9
_SPENT = ("time", "solver", "candidates")

_EFFORT = Effort()


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
        journals: Journals = unwritten,
    ) -> None:
        """Take the parts; `here` is what refusals call the target that is searched for."""
        self._space = space
        self._belief = belief
        self._progress = progress
        self._seed = seed
        self.here = here
        self._tries = Tries(space, candidates, belief, progress, journals)

    def search(
        self, limits: Budget, effort: Effort = _EFFORT, before: Sequence[Trial] = ()
    ) -> Searched:
        """Try candidates until there is a reason to stop.

        Args:
            limits: the budgets; latency in microseconds bounds the measured upper end.
            effort: what may be spent.
            before: trials of this loop's earlier search under the same limits; they count.

        Raises:
            InfeasibleError: no assembly is within the limits; says the fastest possible.
            UndecidedError: the solver had no time to find one, nor to exclude it.
        """
        trials = list(before)
        if not trials:
            self._belief.barred = False
            self._tries.begin(limits, effort, "closed loop", self._seed)
            trials = self._whole_donor(limits)
        most = effort.candidates + sum(trial.whole_donor for trial in trials)
        self._progress.start(_phase(limits), most)
        while True:
            answers = self._solve(limits, trials, effort.per_round)
            if not answers[0].found and not trials:
                self._refuse(limits, answers[0])
            stopped = self._stopped(limits, trials, answers[0], most)
            if stopped is None:
                self._round(limits, answers, trials, most)
            elif stopped in _SPENT or not self._try_hopeful(limits, trials, most):
                self._progress.finish()
                return Searched(ranked(*trials), stopped)

    def confirm(self, trial: Trial, limits: Budget) -> Trial:
        """A trial of the search, measured anew."""
        return self._tries.confirm(trial, limits)

    def reject(self, trial: Trial) -> Trial:
        """The trial of a network with int8 blocks that did not pass its verification."""
        self._belief.failed(trial)
        return replace(trial, within=False)

    def in_float(self, limits: Budget, effort: Effort, before: Sequence[Trial]) -> Searched:
        """Search on without blocks in int8: none of the networks that have some may be used."""
        self._belief.barred = True
        candidates = effort.candidates + len(before)
        return self.search(limits, replace(effort, candidates=candidates), before)

    def certificate(self, found: Searched, best: Trial, limits: Budget) -> Certificate:
        """What the search proves of its answer, which was measured anew and keeps the limits."""
        trials = sorted(found.trials, key=lambda trial: trial.order)
        (answer, *_) = self._solve(limits, trials, 1)
        stands = self._standing(limits, best, trials, answer)
        return certified(found, best, stands, limits)

    def forget(self) -> None:
        """Nothing that was measured keeps the limits: the next search begins anew."""
        self._tries.forget()

    def require(self, limits: Budget) -> None:
        """Refuse limits that no network is within; builds and measures nothing.

        Raises:
            InfeasibleError: says the fastest possible.
        """
        (answer, *_) = self._best(limits, (), 1)
        if answer.status == "infeasible":
            self._refuse(limits, answer)

    def problem(self, limits: Budget) -> Problem:
        """The assembly program as the loop believes it by now."""
        return self._space.problem(self._belief.tightened(limits), self._belief.now)

    def fastest(self, limits: Budget) -> Assembly:
        """The assembly of least latency under all limits but the one on latency."""
        return cheapest(self.problem(limits), "latency_us")

    def _solve(self, limits: Budget, trials: Sequence[Trial], most: int) -> Answers:
        """The best networks that were not tried, with proof; the first may be that there is none.

        After one without proof no more are looked for.
        """
        return self._tries.solve(trials, lambda: self._best(limits, trials, most))

    def _best(self, limits: Budget, trials: Sequence[Trial], most: int) -> Answers:
        problem = self.problem(limits)
        known = {arc.id for arc in problem.arcs}
        # Under other limits there may be other arcs, and then no answer has those of a trial.
        tried = (frozenset(trial.assembly.arcs) for trial in trials)
        forbid = [arcs for arcs in tried if arcs <= known]
        answers: list[Assembly] = []
        while len(answers) < most:
            seconds = self._tries.solve_seconds
            found = assemble(problem, time_limit_s=seconds, seed=self._seed, forbid=forbid)
            if found.found or not answers:
                answers.append(found)
            if found.status != "optimal":
                break
            forbid.append(frozenset(found.arcs))
        return tuple(answers)

    def _whole_donor(self, limits: Budget) -> list[Trial]:
        """The best donor that fits whole: its quality is known, and stitches have to beat it."""
        alone, *best = self._tries.solve((), lambda: self._alone(limits), "whole donor")
        return [self._tries.make(self._proven(alone, *best), limits, (), 0)] if best else []

    def _alone(self, limits: Budget) -> Answers:
        """The best whole donor and, if there is one, the best of all networks."""
        alone = self._best(replace(limits, stitches=0), (), 1)
        return (*alone, *self._best(limits, (), 1)) if alone[0].found else alone

    def _try_hopeful(self, limits: Budget, trials: list[Trial], most: int) -> bool:
        """Try a better donor that would be within the limits but for its interval's upper end.

        Its quality is known, so that the measurement alone decides; whether it was noise that made
        the interval wide shows then. False: there is none, or nothing left to try it with.
        """
        leader = _leader(trials)
        if len(trials) >= most:
            return False
        tried = {trial.candidate.blueprint for trial in trials}
        for answer in self._tries.solve(trials, lambda: self._hopes(limits, trials), "hopeful"):
            latency = self._space.latency(answer.arcs, self._belief.here)
            blueprint = self._space.blueprint(answer.arcs)
            least = -inf if leader is None else leader.quality
            near = latency.median_us <= (limits.latency_us or inf) < latency.upper_us
            better = (answer.objective or 0.0) > least + _GAIN
            if near and better and blueprint not in tried and self._tries.in_time(answer):
                # What is proven of the others says nothing of one that they leave out.
                donor = replace(answer, status="feasible", bound=None, gap=None)
                self._progress.update(len(trials), str(blueprint))
                turn = 1 + max(trial.round for trial in trials)
                trials.append(self._tries.make(donor, limits, trials, turn))
                return True
        return False

    def _hopes(self, limits: Budget, trials: Sequence[Trial]) -> Answers:
        """The best whole donors that were not tried, with more latency than they may take."""
        if limits.latency_us is None or limits.min_quality is not None or not trials:
            return ()
        wider = replace(limits, stitches=0, latency_us=limits.latency_us * _HOPE)
        return tuple(found for found in self._best(wider, trials, _HOPES) if found.found)

    def _proven(self, alone: Assembly, best: Assembly) -> Assembly:
        """The whole donor with what is proven of it among all networks."""
        blueprint = self._space.blueprint
        if best.found and blueprint(best.arcs) == blueprint(alone.arcs):
            return best  # with what is proven of it among all networks, not among whole donors
        if best.status == "optimal" and isclose(best.objective or 0.0, alone.objective or 0.0):
            # As good as the best of all: sums of shares are no more exact than this.
            return replace(alone, status="optimal", bound=best.bound, gap=best.gap)
        return replace(alone, status="feasible", bound=best.bound, gap=None)

    def _round(self, limits: Budget, answers: Answers, trials: list[Trial], most: int) -> None:
        """Build what one solve has found, as far as it is still worth it."""
        turn = 1 + max((trial.round for trial in trials), default=0)
        believed = self._belief.now
        for place, assembly in enumerate(answers[: most - len(trials)]):
            if place and (
                not self._tries.in_time(assembly) or self._settled(limits, trials, assembly)
            ):
                return
            self._progress.update(len(trials), str(self._space.blueprint(assembly.arcs)))
            trials.append(self._tries.make(assembly, limits, trials, turn, believed=believed))

    def _settled(self, limits: Budget, trials: Sequence[Trial], promise: Assembly) -> bool:
        best = _leader(trials)
        if best is None:
            return False
        return self._standing(limits, best, trials, promise).holds == "strict"

    def _stopped(
        self, limits: Budget, trials: Sequence[Trial], promise: Assembly, most: int
    ) -> Stopped | None:
        """Why to build no more; None: there is no reason yet."""
        if not promise.found:
            return "nothing left" if promise.status == "infeasible" else self._tries.unanswered
        best = _leader(trials)
        if best is not None:
            holds = self._standing(limits, best, trials, promise).holds
            if holds == "strict":
                return "settled"
            without_gain = max(trial.order for trial in trials) - best.order
            if holds == "within interval" and without_gain >= PATIENCE:
                return "no gain"
        if len(trials) >= most:
            return "candidates"
        return None if self._tries.in_time(promise) else "time"

    def _standing(
        self, limits: Budget, best: Trial, trials: Sequence[Trial], promise: Assembly
    ) -> Standing:
        predicted = None
        if promise.found:
            predicted = self._space.latency(promise.arcs, self._belief.here)
        return standing(limits, best, trials, promise, predicted, self._belief.drops.error)

    def _refuse(self, limits: Budget, answer: Assembly) -> None:
        self._progress.finish()
        if answer.status != "infeasible":
            self.forget()  # with more time, or on a quieter machine, there may be an answer
            raise self._tries.undecided
        question = Question(self.problem, self._space.blueprint, self._belief.excess, self.here)
        raise InfeasibleError(refusal(question, limits))


def _phase(limits: Budget) -> str:
    budget = "" if limits.latency_us is None else f" for {limits.latency_us / 1000:.2f} ms"
    return f"solving, building and measuring candidates{budget}"


def _leader(trials: Sequence[Trial]) -> Trial | None:
    """The best network within the limits so far."""
    within = [trial for trial in trials if trial.within]
    return max(within, key=lambda trial: trial.rank) if within else None
