"""Journal: what a search has solved and measured so far, in a file, so that it can go on.

A search that was stopped, however abruptly, is replayed from it: the same answers, the same
measurements, hence the same beliefs. Only what could not be trusted is not replayed: measurements
that were noisy, and answers without proof where the solver has more time now. The file is written
anew, whole or not at all, after every step; its name says what the search depends on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from math import inf
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from compiler.assembly import Assembly
from compiler.cache import exclusive, write_atomic
from compiler.candidates import Latencies
from targets.errors import UsageError

FORMAT = "derycc.search/1"

_LOCK = "searches"
"""One lock for all searches of a cache: each is in it for the time of a write."""

_PROVEN = ("optimal", "infeasible")

Answers = tuple[Assembly, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """One network as it was measured.

    Attributes:
        measured: its latency, on every target.
        seconds: wall time that building, judging and measuring it took.
        whole_donor: whether it was the donor to beat, which counts as no candidate.
    """

    measured: Latencies
    seconds: float
    whole_donor: bool


@dataclass(frozen=True, slots=True)
class _Content:
    """What the file says.

    Attributes:
        format: `derycc.search/1`.
        answers: of the solver, by the networks that had been tried and what was believed.
        kept: networks that were measured, in order, by what they are made of.
        withdrawn: second measurements that missed the limits.
        unproven: seconds that the solver had for answers that it could not prove, likewise.
    """

    format: str = FORMAT
    answers: dict[str, Answers] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    withdrawn: dict[str, Latencies] = field(default_factory=dict)
    unproven: dict[str, float] = field(default_factory=dict)

    def with_step(self, step: "_Content") -> "_Content":
        """All of this and of a step; where both know something, the step's."""
        unproven = {q: had for q, had in self.unproven.items() if q not in step.answers}
        return _Content(
            answers={**self.answers, **step.answers},
            kept={**self.kept, **step.kept},
            withdrawn={**self.withdrawn, **step.withdrawn},
            unproven=unproven | step.unproven,
        )

    def without_worse_than(self, there: "_Content") -> "_Content":
        """A step without what is worse than what is there.

        That is answers without proof that had less time, and noisy measurements beside quiet ones.
        """
        worse = {
            question
            for question, had in self.unproven.items()
            if question in there.answers and there.unproven.get(question, inf) > had
        }
        quiet = {network for network, kept in there.kept.items() if not kept.measured.noisy}
        return replace(
            self,
            kept={n: k for n, k in self.kept.items() if not (k.measured.noisy and n in quiet)},
            answers={q: found for q, found in self.answers.items() if q not in worse},
            unproven={q: had for q, had in self.unproven.items() if q not in worse},
        )


@cache
def _adapter() -> TypeAdapter[_Content]:
    return TypeAdapter(_Content)


class Journal:
    """The steps of one search; without a path they are kept for this run alone."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what is there; a file that cannot be read is begun anew."""
        self._path = path
        self._content = _read(path)

    @property
    def candidates(self) -> int:
        """Candidates that were measured, the best whole donor not counted."""
        return sum(not kept.whole_donor for kept in self._content.kept.values())

    @property
    def seconds(self) -> tuple[float, ...]:
        """What each network took that was measured."""
        return tuple(kept.seconds for kept in self._content.kept.values())

    def answers(self, question: str, solve: Callable[[], Answers], seconds: float = 0.0) -> Answers:
        """The solver's answers to a question, as it gave them the first time.

        Args:
            question: what they depend on.
            solve: asks the solver.
            seconds: that it would have now. Answers that it had no time to prove are asked for
                again where that is more than it had.
        """
        known, unproven = self._content.answers, self._content.unproven
        if question not in known or seconds > unproven.get(question, inf):
            found = solve()
            proven = all(answer.status in _PROVEN for answer in found)
            had = {} if proven else {question: seconds}
            self._note(_Content(answers={question: found}, unproven=had))
        return self._content.answers[question]

    def had(self, question: str, otherwise: float) -> float:
        """Seconds that the solver had for answers without proof; `otherwise` for proven ones."""
        return self._content.unproven.get(question, otherwise)

    def kept(self, network: str) -> Kept | None:
        """What was measured of a network, if it was."""
        return self._content.kept.get(network)

    def keep(self, network: str, kept: Kept) -> None:
        """Note what was measured of a network."""
        self._note(_Content(kept={network: kept}))

    def withdrawn(self, network: str) -> Latencies | None:
        """The second measurement of a network, if it missed the limits."""
        return self._content.withdrawn.get(network)

    def withdraw(self, network: str, measured: Latencies) -> None:
        """Note a second measurement that missed the limits."""
        self._note(_Content(withdrawn={network: measured}))

    def forget(self) -> None:
        """Begin anew next time: the search is over, and there is no answer to come back to."""
        self._content = _Content()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _note(self, step: _Content) -> None:
        """Add a step to what this search knows, and to what is in the file by now.

        Another search for the same may have noted something since it was read. That stays in the
        file, for whoever comes next; this one goes its way.
        """
        self._content = self._content.with_step(step)
        if self._path is None:
            return
        with exclusive(self._path.with_name(_LOCK)):
            there = self._content.with_step(_read(self._path))
            content = there.with_step(step.without_worse_than(there))
            write_atomic(self._path, _adapter().dump_json(content))


Journals = Callable[[str], Journal]
"""Gives the journal of a search by a hash of what its loop was asked for."""


def unwritten(_: str) -> Journal:
    """A journal for this run alone."""
    return Journal()


def _read(path: Path | None) -> _Content:
    if path is None:
        return _Content()
    try:
        found = _adapter().validate_json(path.read_bytes())
    except (OSError, ValidationError, UsageError):
        return _Content()
    return found if found.format == FORMAT else _Content()
