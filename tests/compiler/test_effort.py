"""Effort: no candidate is begun that is not expected to end in time."""

import math

import pytest

from compiler import effort
from compiler.effort import Effort, Watch
from targets.errors import UsageError


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"candidates": 0}, "Asked for 0 candidates. Ask for 1 or more."),
        ({"per_round": 0}, "Asked for 0 networks a round. Ask for 1 or more."),
        ({"seconds": 0.0}, "The time to build in is 0.0 s. Give a positive number of seconds"),
        ({"seconds": math.nan}, "The time to build in is nan s"),
        ({"seconds": math.inf}, "The time to build in is inf s"),
    ],
)
def test_effort_that_builds_nothing_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        Effort(**wrong)  # type: ignore[arg-type]

    assert str(refused.value).startswith(said)


def test_a_candidate_is_expected_to_take_as_long_as_the_slowest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(effort, "monotonic", lambda: now[0])
    watch = Watch(10.0)

    assert watch.allows(())
    assert watch.allows((2.0, 10.0))
    now[0] = 101.0
    assert not watch.allows((2.0, 10.0))
    assert watch.allows((2.0, 9.0))
    now[0] = 1000.0
    assert watch.allows(())


def test_without_a_limit_there_is_always_time() -> None:
    assert Watch(None).allows((1e9,))
