"""Time limits, priorities and further rounds of `profile`, on a clock that the tests turn."""

from collections.abc import Callable, Generator

import pytest

from backends.model import ExportedModel
from profilers.jobs import Job, Reading
from profilers.profile import ProfileProgress, plan, profile
from profilers.protocol import Protocol
from profilers.sentinel import SENTINEL
from profilers.store import CostStore
from targets.errors import UsageError
from targets.target import get_target

TARGET = get_target("reference")
PROTOCOL = Protocol(rounds=2, min_units=3, unit_seconds=0.001, warmup_seconds=0.0, max_seconds=0.25)
Models = tuple[ExportedModel, ...]
Watch = Callable[[float], list[ProfileProgress]]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Starts a clock on which every measurement takes so long, and keeps each progress."""

    def start(seconds: float) -> list[ProfileProgress]:
        steps: list[ProfileProgress] = []
        monkeypatch.setattr("profilers.profile.monotonic", lambda: len(steps) * seconds)
        return steps

    return start


def play(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str, int], Reading]) -> list[str]:
    """Answers for the child process: by key and by how often that was asked. Returns what was."""
    asked: list[str] = []

    def readings(job: Job, *rest: object) -> Generator[Reading, None, None]:
        for entry in job.entries:
            if entry.key == SENTINEL:
                yield Reading(SENTINEL, (1e-3,))
                continue
            asked.append(entry.key)
            yield answer(entry.key, asked.count(entry.key))

    monkeypatch.setattr("profilers.profile.readings", readings)
    return asked


def test_within_a_time_limit_the_most_important_models_get_all_their_rounds(
    store: CostStore, models: Models, watch: Watch
) -> None:
    steps = watch(1.5)
    priority = {models[3].structure: 3.0, models[1].structure: 2.0, models[0].structure: 1.0}

    # At the slowest pace two rounds of three models take 9.6 s; then there is no time for a fourth.
    table = profile(
        models,
        TARGET,
        store=store,
        protocol=PROTOCOL,
        progress=steps.append,
        priority=priority,
        budget_seconds=10.0,
    )

    assert set(table.costs) == set(priority)
    assert table.unmeasured == (models[2].structure,)
    assert all(len(cost.rounds) == 2 for cost in table.costs.values())
    assert len(steps) == 6


def test_the_pace_that_is_seen_makes_room_for_more_models(
    store: CostStore, models: Models, watch: Watch
) -> None:
    steps = watch(0.25)

    table = profile(
        models,
        TARGET,
        store=store,
        protocol=PROTOCOL,
        progress=steps.append,
        budget_seconds=8.6,
    )

    first = {step.name for step in steps[:4]}
    assert first == {models[0].name, models[1].name}
    assert len(table.costs) == 4
    assert table.unmeasured == ()


def test_the_limit_is_passed_by_one_measurement_at_most_and_what_was_measured_is_kept(
    store: CostStore, models: Models, watch: Watch
) -> None:
    steps = watch(3.0)

    table = profile(
        models,
        TARGET,
        store=store,
        protocol=PROTOCOL,
        progress=steps.append,
        budget_seconds=8.6,
    )
    later = watch(0.001)
    whole = profile(models, TARGET, store=store, protocol=PROTOCOL, progress=later.append)

    assert len(steps) == 3
    assert len(table.costs) == 1
    assert len(table.unmeasured) == 3
    assert [step.eta_s for step in steps] == pytest.approx([0.0, 5.6, 2.6])
    assert len(later) == 8 - 3
    assert whole.unmeasured == ()


def test_a_limit_that_is_too_short_for_anything_still_tries_the_most_important_model(
    store: CostStore, models: Models, watch: Watch
) -> None:
    steps = watch(0.1)

    table = profile(
        models,
        TARGET,
        store=store,
        protocol=PROTOCOL,
        progress=steps.append,
        priority={models[2].structure: 1.0},
        budget_seconds=0.35,
    )

    assert list(table.costs) == [models[2].structure]
    assert len(table.unmeasured) == 3


def test_a_limit_that_is_over_before_it_begins_measures_nothing(
    store: CostStore, models: Models
) -> None:
    table = profile(models, TARGET, store=store, protocol=PROTOCOL, budget_seconds=1e-9)

    assert table.costs == {}
    assert table.unmeasured == tuple(sorted(model.structure for model in models))
    with pytest.raises(UsageError, match=r"'conv1' was not measured because the time limit"):
        table.cost(models[0])


def test_a_plan_says_how_many_models_fit(store: CostStore, models: Models) -> None:
    fits = [
        plan(models, TARGET, store, PROTOCOL, seconds).fits for seconds in (None, 1.0, 10.0, 100.0)
    ]

    assert fits == [None, 0, 3, 4]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_that_is_no_time_is_refused(
    store: CostStore, models: Models, seconds: float
) -> None:
    with pytest.raises(UsageError, match=r"time limit of .* s. Give seconds above 0"):
        profile(models, TARGET, store=store, budget_seconds=seconds)
    with pytest.raises(UsageError, match=r"time limit of .* s. Give seconds above 0"):
        plan(models, TARGET, store, PROTOCOL, seconds)


def test_only_models_whose_rounds_do_not_agree_get_more_of_them(
    store: CostStore, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady, jumpy = (model.structure for model in models[:2])
    asked = play(
        monkeypatch,
        lambda key, turn: Reading(key, (1e-3 if key == steady else turn * 1e-3,) * 9),
    )
    steps: list[ProfileProgress] = []

    table = profile(models[:2], TARGET, store=store, protocol=PROTOCOL, progress=steps.append)
    again = profile(models[:2], TARGET, store=store, protocol=PROTOCOL)

    assert (asked.count(steady), asked.count(jumpy)) == (2, 5)
    assert len(table.cost(jumpy).rounds) == PROTOCOL.max_rounds == 5
    assert (steps[-1].done, steps[-1].total) == (7, 7)
    assert again == table


def test_intervals_wider_than_two_and_a_half_times_the_target_get_further_rounds(
    store: CostStore, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, wide = (model.structure for model in models[:2])
    # Two medians that are apart by d have a Student interval of 6.35 d to each side.
    apart = {near: 1 + 0.045 / 6.4, wide: 1 + 0.055 / 6.3}
    asked = play(
        monkeypatch, lambda key, turn: Reading(key, (1e-3 * apart[key] ** (turn % 2),) * 9)
    )

    profile(models[:2], TARGET, store=store, protocol=PROTOCOL)

    assert (asked.count(near), asked.count(wide)) == (2, 5)


def test_a_model_that_hangs_is_waited_for_no_longer_than_the_time_limit_allows(
    store: CostStore, models: Models, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def readings(
        job: Job, threads: int, patience: Callable[[], float]
    ) -> Generator[Reading, None, None]:
        for entry in job.entries:
            waits.append(patience())
            yield Reading(entry.key, (1e-3,))

    monkeypatch.setattr("profilers.profile.readings", readings)
    steps = watch(50.0)

    profile(
        models[:1],
        TARGET,
        store=store,
        protocol=PROTOCOL,
        progress=steps.append,
        budget_seconds=70.0,
    )
    limited = list(waits)
    profile(models[1:2], TARGET, store=store, protocol=PROTOCOL)

    # The slowest pace of a model is 0.55 s; a step later 20 s are left and the slowest took 50 s.
    assert limited[:3] == pytest.approx([70.55, 70.55, 70.55])
    assert set(waits[len(limited) :]) == {600.0}


def test_a_further_round_that_fails_leaves_the_cost_that_is_there(
    store: CostStore, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(key: str, turn: int) -> Reading:
        return Reading(key, (turn * 1e-3,)) if turn <= 2 else Reading(key, error="gone.")

    play(monkeypatch, answer)

    table = profile(models[:1], TARGET, store=store, protocol=PROTOCOL)

    assert len(table.cost(models[0]).rounds) == 2
    assert table.failures == {}


def test_what_a_round_says_of_memory_energy_and_contention_is_in_the_table(
    store: CostStore, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(key: str, turn: int) -> Reading:
        return Reading(
            key, (1e-3,), peak_bytes=1000 * turn, joules=0.5 * turn, contention=0.2 / turn
        )

    play(monkeypatch, answer)

    cost = profile(models[:1], TARGET, store=store, protocol=PROTOCOL).cost(models[0])

    assert (cost.peak_bytes, cost.joules, cost.contention) == (2000, 0.75, 0.2)
    assert cost.noise == "processors were waited for or used by others 20% of the time"
