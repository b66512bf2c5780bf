"""Tries: networks are built, judged and measured one by one, and each teaches something."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic

from compiler.assembly import Assembly
from compiler.belief import Belief, predicted_on
from compiler.believed import Believed
from compiler.cache import digest
from compiler.candidates import Candidate, Candidates
from compiler.certificate import Stopped
from compiler.effort import Effort, Watch
from compiler.journal import Answers, Journal, Journals, Kept, unwritten
from compiler.kept import chosen_by, keeps
from compiler.network import Blueprint
from compiler.progress import Progress
from compiler.search_space import Space
from compiler.trial import Trial
from targets.budget import Budget
from targets.errors import UndecidedError

TIME_LIMIT_S = 60.0
"""The solver has no more time for one answer, however much there is for the search."""

LEAST_SOLVE_S = 1.0
"""And no less, however little is left."""


class Tries:
    """What a search has tried, in this run and in those that it goes on from."""

    def __init__(
        self,
        space: Space,
        candidates: Candidates,
        belief: Belief,
        progress: Progress,
        journals: Journals = unwritten,
    ) -> None:
        """Take the parts.

        Args:
            space: the networks.
            candidates: builds them.
            belief: learns from them.
            progress: is told where a search goes on.
            journals: where what was tried is noted.
        """
        self._space = space
        self._candidates = candidates
        self._belief = belief
        self._progress = progress
        self._journals = journals
        self._journal = Journal()
        self._watch = Watch(None)
        self._given = TIME_LIMIT_S

    def begin(self, limits: Budget, effort: Effort, *parts: object) -> None:
        """Open the journal of a search, and start its time.

        Args:
            limits: what was asked for.
            effort: what may be spent.
            parts: what else the search's answers depend on.
        """
        problem = self._space.problem(limits, self._belief.now)
        asked = limits, effort.per_round, repr(self._belief), problem.to_json(), parts
        self._journal = self._journals(digest(*asked))
        self._watch = Watch(effort.seconds)
        if self._journal.seconds:
            before = min(self._journal.candidates, effort.candidates)
            self._progress.start(
                f"resuming: {before} of {effort.candidates} candidates were built before", None
            )
            self._progress.finish()

    def in_time(self, assembly: Assembly) -> bool:
        """Whether one more is expected to be finished in time; one that was measured before is."""
        known = self._journal.kept(str(self._space.blueprint(assembly.arcs)))
        return known is not None or self._watch.allows(self._journal.seconds)

    @property
    def solve_seconds(self) -> float:
        """Time that the solver may take for its next answer."""
        return min(TIME_LIMIT_S, max(LEAST_SOLVE_S, self._watch.left))

    def give(self) -> float:
        """The same, noted: what is said of an answer goes by the time that it had."""
        self._given = self.solve_seconds
        return self._given

    @property
    def _limited(self) -> bool:
        """Whether the solver had less time for its last answer than it has at most."""
        return self._given < TIME_LIMIT_S

    @property
    def undecided(self) -> UndecidedError:
        """What to raise where it had neither an answer nor a proof, and nothing was tried."""
        had = "in the time there was" if self._limited else f"in {TIME_LIMIT_S:.0f} s"
        more = ", or more --build-seconds" if self._limited else ""
        return UndecidedError(
            f"The solver found no network within the limits {had}, and no proof that there is "
            f"none. Use fewer donors or input sizes, or allow more latency{more}."
        )

    @property
    def unanswered(self) -> Stopped:
        """Why a search stops where the solver had neither an answer nor a proof."""
        return "time" if self._limited else "solver"

    def solve(
        self, trials: Sequence[Trial], ask: Callable[[], Answers], question: str = ""
    ) -> Answers:
        """What the solver answers after these trials, by what is believed now.

        Asked once, however often a search runs, unless it had no time for a proof and has more now.
        """
        tried = tuple(str(trial.candidate.blueprint) for trial in trials)
        key = digest(question, self._belief.now, *tried)
        answers = self._journal.answers(key, ask, self.give())
        self._given = self._journal.had(key, self._given)
        return answers

    def make(
        self,
        assembly: Assembly,
        limits: Budget,
        trials: Sequence[Trial],
        turn: int,
        score: float | None = None,
        believed: Believed | None = None,
    ) -> Trial:
        """Predict, build and measure a network, and learn from it.

        Args:
            assembly: how the solver came to it.
            limits: what it has to keep.
            trials: those before it.
            turn: solves before the one that chose it.
            score: what it is chosen by; None: what was asked for says it.
            believed: what it was chosen by; None: what is believed now.
        """
        arcs, belief = assembly.arcs, self._belief
        believed = believed or belief.now
        whole = not trials and assembly.status == "feasible"
        candidate, seconds = self._measured(self._space.blueprint(arcs), whole)
        there = [target for target, _ in candidate.elsewhere]
        trial = Trial(
            assembly,
            self._space.latency(arcs, believed.here),
            self._space.expected(arcs, believed.drops),
            candidate,
            within=keeps(limits, candidate),
            order=len(trials),
            score=chosen_by(limits, candidate) if score is None else score,
            believed=believed,
            round=turn,
            seconds=seconds,
            elsewhere=predicted_on(there, arcs, self._space, believed),
        )
        belief.learn(trial, self._space)
        return replace(trial, learned=belief.now)

    def _measured(self, blueprint: Blueprint, whole_donor: bool) -> tuple[Candidate, float]:
        """The candidate, and the seconds that it took when it was measured."""
        kept = self._journal.kept(str(blueprint))
        if kept is not None and not kept.measured.noisy:
            return self._candidates.recall(blueprint, kept.measured), kept.seconds
        start = monotonic()
        candidate = self._candidates.make(blueprint)
        # What was noisy is measured again, and not built again.
        seconds = max(monotonic() - start, kept.seconds if kept else 0.0)
        self._journal.keep(str(blueprint), Kept(candidate.latencies, seconds, whole_donor))
        return candidate, seconds

    def confirm(self, trial: Trial, limits: Budget) -> Trial:
        """The trial with a new measurement, which alone decides whether it keeps the limits.

        One that missed them is not measured a third time when the search goes on, nor when it is
        begun again, unless that measurement was noisy.
        """
        if trial.first is not None:
            return trial
        blueprint = trial.candidate.blueprint
        before = self._journal.withdrawn(str(blueprint))
        if before is None or before.noisy:
            self._progress.start("measuring the best network anew, after the choice", None)
            candidate = self._candidates.confirm(blueprint)
            self._progress.finish()
        else:
            candidate = self._candidates.recall(blueprint, before)
        within = keeps(limits, candidate)
        if not within:
            self._journal.withdraw(str(blueprint), candidate.latencies)
        score = chosen_by(limits, candidate)
        return replace(
            trial,
            candidate=candidate,
            within=within,
            score=trial.score if score is None else score,
            first=trial.candidate.latency,
        )

    def forget(self) -> None:
        """The search gave no answer: nothing goes on from it."""
        self._journal.forget()
