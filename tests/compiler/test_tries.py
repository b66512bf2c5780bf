"""Tries: what was trusted is replayed, what was not is asked for and measured again."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from compiler import closed_loop, effort
from compiler.assembly import Assembly, assemble
from compiler.belief import Belief
from compiler.effort import Effort
from compiler.journal import Journal
from compiler.network import Blueprint
from compiler.problem import Problem
from compiler.progress import Silent
from compiler.trial import Trial
from compiler.tries import TIME_LIMIT_S, Tries
from targets.budget import Budget
from targets.errors import UndecidedError
from tests.compiler.loop_cases import Pretended, Toys, by_stitches, loop_of, space_of

LIMITS = Budget(latency_us=95.0)
Pretence = Callable[[Blueprint], Any]


def journals(folder: Path) -> Callable[[str], Journal]:
    return lambda asked: Journal(folder / f"{asked}.json")


def pretended(us: float = 60.0, noisy: Pretence = lambda _: False) -> Pretended:
    return Pretended(by_stitches(0.5, 0.1), by_stitches(50.0, us), noisy=noisy)


def test_a_search_that_was_trusted_is_replayed(toys: Toys, tmp_path: Path) -> None:
    first, again = pretended(), pretended()
    one = loop_of(space_of(toys), first, journals=journals(tmp_path)).search(LIMITS, Effort(3))

    two = loop_of(space_of(toys), again, journals=journals(tmp_path)).search(LIMITS, Effort(3))

    assert len(first.made) == 4
    assert again.made == []
    assert two == one


def test_a_noisy_measurement_is_taken_again_and_the_solver_asked_anew(
    toys: Toys, tmp_path: Path
) -> None:
    noisy = pretended(80.0, lambda b: b.stitches > 0)
    loop_of(space_of(toys), noisy, journals=journals(tmp_path)).search(LIMITS, Effort(3))
    quiet, unknown = pretended(55.0), pretended(55.0)

    after = loop_of(space_of(toys), quiet, journals=journals(tmp_path)).search(LIMITS, Effort(3))

    fresh = loop_of(space_of(toys), unknown).search(LIMITS, Effort(3))
    assert [said(trial) for trial in after.trials] == [said(trial) for trial in fresh.trials]
    assert quiet.made == unknown.made[1:]
    assert not any(trial.candidate.latency.noisy for trial in after.trials)


def said(trial: Trial) -> tuple[Any, ...]:
    """Of a trial all but what its clock says."""
    return trial.candidate, trial.predicted, trial.believed, trial.learned, trial.assembly.bound


@pytest.mark.parametrize(("noisy", "measured"), [(True, 1), (False, 0)])
def test_a_network_is_withdrawn_for_good_by_a_measurement_that_can_be_trusted(
    toys: Toys, tmp_path: Path, noisy: bool, measured: int
) -> None:
    candidates = pretended()
    tries = tries_of(toys, candidates, tmp_path)
    (trial,) = loop_of(space_of(toys), candidates).search(LIMITS, Effort(1), ()).trials[:1]
    candidates.latency, candidates.noisy = (lambda _: 120.0), (lambda _: noisy)
    assert not tries.confirm(trial, LIMITS).within

    later = pretended()
    confirmed = tries_of(toys, later, tmp_path).confirm(trial, LIMITS)

    assert len(later.made) == measured
    assert confirmed.within == noisy


def tries_of(toys: Toys, candidates: Pretended, folder: Path) -> Tries:
    made: Any = candidates
    tries = Tries(space_of(toys), made, Belief(), Silent(), journals(folder))
    tries.begin(LIMITS, Effort())
    return tries


def test_networks_of_one_round_are_predicted_by_what_chose_them(toys: Toys) -> None:
    candidates, space = pretended(90.0), space_of(toys)

    trials = loop_of(space, candidates).search(LIMITS, Effort(4, per_round=2)).trials

    one, two, three, *_ = sorted(trials, key=lambda trial: trial.order)[1:]
    assert (one.round, two.round, three.round) == (1, 1, 2)
    assert one.believed == two.believed != one.learned
    assert three.believed == two.learned
    for trial in (one, two, three):
        assert trial.believed is not None
        assert trial.assembly.objective == pytest.approx(trial.expected)
        assert trial.predicted == space.latency(trial.assembly.arcs, trial.believed.residual)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the solver was given, each time."""
    found: list[float] = []

    def noted(problem: Problem, **options: Any) -> Assembly:
        found.append(options["time_limit_s"])
        return assemble(problem, **options)

    monkeypatch.setattr(closed_loop, "assemble", noted)
    return found


def test_the_solver_gets_no_more_time_than_is_left(toys: Toys, given: list[float]) -> None:
    loop_of(space_of(toys), pretended()).search(LIMITS, Effort(2, seconds=20.0))
    loop_of(space_of(toys), pretended()).search(LIMITS, Effort(2))

    limited = [seconds for seconds in given if seconds != TIME_LIMIT_S]
    assert 0.0 < min(limited) <= max(limited) <= 20.0
    assert limited == sorted(limited, reverse=True)
    assert len(given) == 2 * len(limited)


def test_a_time_that_is_up_leaves_the_solver_a_second(toys: Toys, given: list[float]) -> None:
    loop_of(space_of(toys), pretended()).search(LIMITS, Effort(2, seconds=1e-9))

    assert set(given) == {1.0}


def test_without_time_for_an_answer_more_time_is_advised(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(closed_loop, "assemble", unanswered)
    loop = loop_of(space_of(toys), pretended(), journals=journals(tmp_path))

    with pytest.raises(UndecidedError) as refused:
        loop.search(LIMITS, Effort(seconds=5.0))

    assert str(refused.value) == (
        "The solver found no network within the limits in the time there was, and no proof that "
        "there is none. Use fewer donors or input sizes, or allow more latency, or more "
        "--build-seconds."
    )
    assert refused.value.exit_code == 2
    assert list(tmp_path.glob("*.json")) == []


def unanswered(problem: Problem, **options: Any) -> Assembly:
    found = assemble(problem, **options)
    return replace(found, status="unknown", arcs=(), objective=None, bound=None, gap=None, costs=())


@pytest.mark.parametrize(("seconds", "reason"), [(None, "solver"), (30.0, "time")])
def test_the_reason_for_no_answer_is_the_time_that_was_allowed(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, seconds: float | None, reason: str
) -> None:
    def at_first(problem: Problem, **options: Any) -> Assembly:
        return unanswered(problem, **options) if options["forbid"] else assemble(problem, **options)

    monkeypatch.setattr(closed_loop, "assemble", at_first)

    found = loop_of(space_of(toys), pretended()).search(LIMITS, Effort(seconds=seconds))

    assert found.stopped == reason


@dataclass
class Clock:
    """Stands still but for what is done by it."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "reason"), [(50.0, "time"), (100.0, "solver"), (1000.0, "solver"), (None, "solver")]
)
def test_what_is_said_of_no_answer_goes_by_the_time_that_the_solver_had(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, seconds: float | None, reason: str
) -> None:
    def all_its_time(problem: Problem, **options: Any) -> Assembly:
        if not options["forbid"]:
            return assemble(problem, **options)
        clock.now += options["time_limit_s"]
        return unanswered(problem, **options)

    clock = Clock()
    monkeypatch.setattr(effort, "monotonic", clock)
    monkeypatch.setattr(closed_loop, "assemble", all_its_time)

    found = loop_of(space_of(toys), pretended()).search(LIMITS, Effort(seconds=seconds))

    assert clock.now == min(seconds or 60.0, 60.0)
    assert found.stopped == reason


@pytest.mark.parametrize(("seconds", "advised"), [(50.0, True), (100.0, False), (1000.0, False)])
def test_more_time_is_advised_where_the_solver_had_less_than_it_may_have(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, seconds: float, advised: bool
) -> None:
    def all_its_time(problem: Problem, **options: Any) -> Assembly:
        if next(whole_donors_asked_for):
            return replace(unanswered(problem, **options), status="infeasible")
        clock.now += options["time_limit_s"]
        return unanswered(problem, **options)

    clock, whole_donors_asked_for = Clock(), iter((True, False))
    monkeypatch.setattr(effort, "monotonic", clock)
    monkeypatch.setattr(closed_loop, "assemble", all_its_time)

    with pytest.raises(UndecidedError) as refused:
        loop_of(space_of(toys), pretended()).search(LIMITS, Effort(seconds=seconds))

    assert ("more --build-seconds" in str(refused.value)) == advised
    assert ("in the time there was" in str(refused.value)) == advised


def test_an_answer_without_proof_is_asked_for_again_where_there_is_more_time(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[float] = []

    def unproven(problem: Problem, **options: Any) -> Assembly:
        asked.append(options["time_limit_s"])
        return replace(assemble(problem, **options), status="feasible", gap=None)

    def search(seconds: float | None) -> int:
        before = len(asked)
        loop = loop_of(space_of(toys), pretended(), journals=journals(tmp_path))
        loop.search(LIMITS, Effort(1, seconds=seconds))
        return len(asked) - before

    monkeypatch.setattr(closed_loop, "assemble", unproven)

    counts = [search(30.0), search(None), search(None), search(30.0)]

    assert counts[0] == counts[1] > 0
    assert counts[2:] == [0, 0]
