import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers.protocol import Protocol
from profilers.selection import Limit, Pace, choose

PACE = Pace(round_seconds=2.0, model_seconds=1.0)

keys = st.text("abcdef", min_size=1, max_size=2)
lacking = st.dictionaries(keys, st.integers(1, 5), max_size=10)
priorities = st.dictionaries(keys, st.floats(-10, 10, allow_subnormal=False), max_size=10)


def test_the_most_important_models_that_fit_are_chosen() -> None:
    missing = {"a": 3, "b": 3, "c": 3}

    chosen = choose(missing, Limit(priority={"c": 2.0, "a": 1.0}), PACE, seconds=12.5)

    # Three rounds of 2 s, and two models three times each.
    assert chosen == ("c", "a")


def test_models_without_a_priority_come_last_in_their_order() -> None:
    assert Limit(priority={"c": 0.5}).order(["a", "b", "c"]) == ("c", "a", "b")


def test_nothing_is_chosen_where_nothing_fits() -> None:
    assert choose({"a": 1}, Limit(), PACE, seconds=2.9) == ()
    assert choose({}, Limit(), PACE, seconds=100) == ()


def test_the_slowest_pace_runs_to_the_protocols_limits() -> None:
    pace = Pace.slowest(Protocol(warmup_seconds=0.05, max_seconds=0.25))

    assert pace.model_seconds == pytest.approx(0.6)
    assert pace.round_seconds == pytest.approx(1.5 + 3 * 0.6)


@given(missing=lacking, priority=priorities, seconds=st.floats(0, 100, allow_subnormal=False))
def test_what_is_chosen_fits_and_one_more_would_not(
    missing: dict[str, int], priority: dict[str, float], seconds: float
) -> None:
    chosen = choose(missing, Limit(seconds + 1, priority), PACE, seconds)

    def taken(names: tuple[str, ...]) -> float:
        rounds = [missing[name] for name in names]
        return PACE.seconds(max(rounds, default=0), sum(rounds))

    order = Limit(priority=priority).order(missing)
    assert chosen == order[: len(chosen)]
    assert taken(chosen) <= seconds
    assert chosen == order or taken(order[: len(chosen) + 1]) > seconds
