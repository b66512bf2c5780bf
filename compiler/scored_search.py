"""Scored search: networks built, judged and measured in the order of a score.

The choice is the score's: the best-scored network that keeps its latency budget when it is
measured. What the score is worth is told by the measured qualities beside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import NoReturn, Protocol

from compiler.assembly import Assembly, assemble, relative_gap
from compiler.belief import Belief
from compiler.believed import Believed
from compiler.candidates import Candidates
from compiler.certificate import Certificate, Proof, Stopped
from compiler.effort import Effort
from compiler.journal import Journals, unwritten
from compiler.path_score import rounded
from compiler.problem import Problem
from compiler.progress import Progress
from compiler.ranks import spearman
from compiler.search_space import Space
from compiler.searched import Searched, certified
from compiler.standing import by_score
from compiler.trial import Trial, ranked
from compiler.tries import LEAST_SOLVE_S, TIME_LIMIT_S, Tries
from targets.budget import Budget
from targets.errors import InfeasibleError

_EFFORT = Effort()


@dataclass(frozen=True, slots=True)
class Scored:
    """An assembly and its score; more is better."""

    assembly: Assembly
    score: float


@dataclass(frozen=True, slots=True)
class Promise:
    """What is proven of the networks that were not tried.

    Attributes:
        score: none has a better one; None: there is none, or nothing is known.
        proof: as of `Standing`.
    """

    score: float | None
    proof: Proof


class Order(ABC):
    """Says which assembly is the best of those that are left."""

    @abstractmethod
    def best(
        self, limits: Budget, belief: Belief, tried: Sequence[Trial], seconds: float = TIME_LIMIT_S
    ) -> Scored | None:
        """The best within the limits, as far as is known by now; None: there are no more.

        `seconds` are for the solver.
        """

    @abstractmethod
    def promise(
        self, limits: Budget, belief: Belief, tried: Sequence[Trial], seconds: float = TIME_LIMIT_S
    ) -> Promise:
        """What is proven of all that are left, in the solver's seconds."""


class SimilaritySpace(Space, Protocol):
    """A space whose networks have a similarity that adds up along their paths."""

    def by_similarity(self, limits: Budget, believed: Believed) -> Problem:
        """The assembly program under these limits and beliefs, scored by similarity."""
        ...

    def similarity_parts(
        self, limits: Budget, believed: Believed
    ) -> tuple[tuple[Problem, float], ...]:
        """The same as programs of which each has some of the networks.

        Beside each what a path's similarity is beyond its score there.
        """
        ...


class SimilarityOrder(Order):
    """By the sum of similarities, as the space has them: solved exactly."""

    def __init__(self, space: SimilaritySpace, seed: int = 0) -> None:
        self._space = space
        self._seed = seed

    def best(
        self, limits: Budget, belief: Belief, tried: Sequence[Trial], seconds: float = TIME_LIMIT_S
    ) -> Scored | None:
        """The solver's answer, with proof."""
        found = self._solve(limits, belief, tried, seconds)
        return None if found.objective is None else Scored(found, found.objective)

    def promise(
        self, limits: Budget, belief: Belief, tried: Sequence[Trial], seconds: float = TIME_LIMIT_S
    ) -> Promise:
        """The solver's bound."""
        found = self._solve(limits, belief, tried, seconds)
        return Promise(found.bound, found.status)

    def _solve(
        self, limits: Budget, belief: Belief, tried: Sequence[Trial], seconds: float
    ) -> Assembly:
        deadline = monotonic() + seconds
        done, found = [trial.assembly.arcs for trial in tried], []
        for problem, beyond in self._space.similarity_parts(limits, belief.now):
            there = {arc.id for arc in problem.arcs}
            forbid = [frozenset(arcs) for arcs in done if there.issuperset(arcs)]
            left = max(deadline - monotonic(), LEAST_SOLVE_S)
            one = assemble(problem, time_limit_s=left, seed=self._seed, forbid=forbid)
            found.append(_beyond(one, beyond))
        return best_of(found)


def _beyond(answer: Assembly, amount: float) -> Assembly:
    """An answer with so much more objective and bound."""
    objective, bound = (
        None if number is None else number + amount for number in (answer.objective, answer.bound)
    )
    return replace(answer, objective=objective, bound=bound)


def best_of(parts: Sequence[Assembly]) -> Assembly:
    """The answer to a question from the answers to its parts; more is better.

    Equal objectives go to the lower latency. It is proven if no part is bounded above it.
    """
    found = [part for part in parts if part.objective is not None]
    open_ones = [part for part in parts if part.status != "infeasible"]
    if not found:
        return open_ones[0] if open_ones else parts[0]
    best = max(found, key=lambda p: (rounded(p.objective or 0.0), -p.cost("latency_us")))
    assert best.objective is not None
    reached, bounds = best.objective, [part.bound for part in open_ones]
    if any(bound is None for bound in bounds):
        return replace(best, status="feasible", bound=None, gap=None)
    highest = max(bound for bound in bounds if bound is not None)
    if rounded(highest) <= rounded(reached):
        return replace(best, status="optimal", bound=reached, gap=0.0)
    gap = relative_gap(reached, highest)
    return replace(best, status="feasible", bound=highest, gap=gap)


class ScoredSearch:
    """Tries networks in the order of a score; used like a `ClosedLoop`.

    It does not stop at the first that keeps the limits: what the score is worth is told by the
    measured qualities of all.
    """

    def __init__(
        self,
        space: Space,
        order: Order,
        candidates: Candidates,
        belief: Belief,
        progress: Progress,
        journals: Journals = unwritten,
        name: str = "",
    ) -> None:
        """Take the parts.

        Args:
            space: the networks.
            order: says which is next.
            candidates: builds them.
            belief: learns from them.
            progress: told of every network.
            journals: where what was tried is noted.
            name: of the order, and all that it depends on.
        """
        self._space = space
        self._order = order
        self._belief = belief
        self._progress = progress
        self._name = name
        self._tries = Tries(space, candidates, belief, progress, journals)

    def search(
        self, limits: Budget, effort: Effort = _EFFORT, before: Sequence[Trial] = ()
    ) -> Searched:
        """Every candidate tried: those within the budget first, by score.

        Args:
            limits: the budgets; latency in microseconds bounds the measured upper end.
            effort: what may be spent; every network is chosen anew, whatever is asked for a round.
            before: trials of this search's earlier run under the same limits; they count.

        Raises:
            InfeasibleError: there is no assembly to try.
            UndecidedError: the solver had no time to find one, nor to exclude it.
        """
        trials = list(before)
        if not trials:
            self._tries.begin(limits, effort, "scored search", self._name)
        found = self._next(limits, trials, effort)
        self._progress.start("building and measuring candidates by score", effort.candidates)
        while isinstance(found, Scored):
            self._progress.update(len(trials), str(self._space.blueprint(found.assembly.arcs)))
            order = len(trials)
            trials.append(self._tries.make(found.assembly, limits, trials, order, found.score))
            found = self._next(limits, trials, effort)
        self._progress.finish()
        if not trials:
            self._refuse(found)
        return Searched(ranked(*trials), found)

    def _refuse(self, stopped: Stopped) -> NoReturn:
        """There is nothing to try, or no time to find it."""
        if stopped == "nothing left":
            raise InfeasibleError(
                "There is no network within the limits. Allow more latency, relax the other "
                "limits, or add donors."
            )
        self.forget()  # with more time there may be an answer
        raise self._tries.undecided

    def confirm(self, trial: Trial, limits: Budget) -> Trial:
        """A trial of the search, measured anew."""
        return self._tries.confirm(trial, limits)

    def certificate(self, found: Searched, best: Trial, limits: Budget) -> Certificate:
        """What is proven of the answer, which was measured anew and keeps the limits."""
        limits_now = self._belief.tightened(limits)
        seconds = self._tries.solve_seconds
        promise = self._order.promise(limits_now, self._belief, found.trials, seconds)
        stands = by_score(best, promise.score, promise.proof)
        return certified(found, best, stands, limits)

    def forget(self) -> None:
        """Nothing that was measured keeps the limits: the next search begins anew."""
        self._tries.forget()

    def _next(self, limits: Budget, trials: Sequence[Trial], effort: Effort) -> Scored | Stopped:
        if len(trials) >= effort.candidates:
            return "candidates"
        limits_now = self._belief.tightened(limits)
        asked = limits_now, self._belief, trials, self._tries.give()
        found = self._order.best(*asked)
        if found is None:
            proof = self._order.promise(*asked).proof
            return "nothing left" if proof == "infeasible" else self._tries.unanswered
        return found if self._tries.in_time(found.assembly) else "time"


def rank_correlation(trials: Sequence[Trial]) -> float | None:
    """Spearman's, of score and measured quality; None where it says nothing.

    That is with fewer than three networks, or where one of the two is the same for all.
    """
    return spearman([trial.score or 0.0 for trial in trials], [trial.quality for trial in trials])
