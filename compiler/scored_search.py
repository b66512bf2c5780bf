"""Scored search: networks built, judged and measured in the order of a score.

The choice is the score's: the best-scored network that keeps its latency budget when it is
measured. What the score is worth is told by the measured qualities beside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from compiler.assembly import Assembly, assemble
from compiler.belief import Belief
from compiler.candidates import Candidates
from compiler.closed_loop import MAX_CANDIDATES, TIME_LIMIT_S
from compiler.dery_space import DerySpace
from compiler.kept import keeps
from compiler.progress import Progress
from compiler.ranks import spearman
from compiler.trial import Trial, ranked
from targets.budget import Budget
from targets.errors import InfeasibleError


@dataclass(frozen=True, slots=True)
class Scored:
    """An assembly and its score; more is better."""

    assembly: Assembly
    score: float


class Order(ABC):
    """Says which assembly is the best of those that are left."""

    @abstractmethod
    def best(self, limits: Budget, belief: Belief, tried: Sequence[Trial]) -> Scored | None:
        """The best within the limits, as far as is known by now; None: there are no more."""


class SimilarityOrder(Order):
    """By the sum of the blocks' similarities to the anchors of their sets: solved exactly."""

    def __init__(self, space: DerySpace, seed: int = 0) -> None:
        self._space = space
        self._seed = seed

    def best(self, limits: Budget, belief: Belief, tried: Sequence[Trial]) -> Scored | None:
        """The solver's answer, with proof."""
        problem = self._space.by_similarity(limits, belief.drops, belief.residual, belief.elsewhere)
        forbid = [frozenset(trial.assembly.arcs) for trial in tried]
        found = assemble(problem, time_limit_s=TIME_LIMIT_S, seed=self._seed, forbid=forbid)
        return None if found.objective is None else Scored(found, found.objective)


class ScoredSearch:
    """Tries networks in the order of a score; used like a `ClosedLoop`."""

    def __init__(
        self,
        space: DerySpace,
        order: Order,
        candidates: Candidates,
        belief: Belief,
        progress: Progress,
    ) -> None:
        self._space = space
        self._order = order
        self._candidates = candidates
        self._belief = belief
        self._progress = progress

    def search(
        self, limits: Budget, most: int = MAX_CANDIDATES, before: Sequence[Trial] = ()
    ) -> tuple[Trial, ...]:
        """Every candidate tried: those within the budget first, by score.

        Args:
            limits: the budgets; latency in microseconds bounds the measured upper end.
            most: candidates to build at the most.
            before: trials of an earlier search under the same limits; they count.

        Raises:
            InfeasibleError: there is no assembly to try.
        """
        trials = list(before)
        found = self._next(limits, trials, most)
        self._progress.start("building and measuring candidates by score", most)
        while found is not None:
            self._progress.update(len(trials), str(self._space.blueprint(found.assembly.arcs)))
            trials.append(self._try(found, limits, len(trials)))
            found = self._next(limits, trials, most)
        self._progress.finish()
        if not trials:
            raise InfeasibleError(
                f"No network within the limits was found in {TIME_LIMIT_S:.0f} s. Use fewer "
                "donors or input sizes, or allow more latency."
            )
        return ranked(*trials)

    def _next(self, limits: Budget, trials: Sequence[Trial], most: int) -> Scored | None:
        if len(trials) >= most:
            return None
        return self._order.best(self._belief.tightened(limits), self._belief, trials)

    def _try(self, found: Scored, limits: Budget, order: int) -> Trial:
        arcs = found.assembly.arcs
        predicted = self._space.latency(arcs, self._belief.residual)
        expected = self._space.expected(arcs, self._belief.drops)
        candidate = self._candidates.make(self._space.blueprint(arcs))
        within = keeps(limits, candidate)
        believed = self._belief.now
        targets = [target for target, _ in candidate.elsewhere]
        trial = Trial(
            found.assembly,
            predicted,
            expected,
            candidate,
            within,
            order,
            found.score,
            believed,
            self._belief.predicted_on(targets, arcs, self._space),
        )
        self._belief.learn(trial, self._space)
        return trial


def rank_correlation(trials: Sequence[Trial]) -> float | None:
    """Spearman's, of score and measured quality; None where it says nothing.

    That is with fewer than three networks, or where one of the two is the same for all.
    """
    return spearman([trial.score or 0.0 for trial in trials], [trial.quality for trial in trials])
