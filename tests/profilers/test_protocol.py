from dataclasses import replace
from typing import Any

import pytest

from profilers.protocol import Protocol
from targets.errors import UsageError


def test_more_rounds_of_one_protocol_are_the_same_protocol() -> None:
    assert replace(Protocol(), rounds=9, max_rounds=11).digest == Protocol().digest


@pytest.mark.parametrize(
    "change",
    [
        {"unit_seconds": 0.1},
        {"warmup_seconds": 0.1},
        {"min_units": 3},
        {"target_half_width": 0.1},
        {"max_seconds": 1.0},
        {"seed": 1},
    ],
)
def test_whatever_moves_a_sample_makes_another_protocol(change: dict[str, Any]) -> None:
    assert replace(Protocol(), **change).digest != Protocol().digest


def test_samples_of_other_code_are_samples_of_another_protocol(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = Protocol().digest
    monkeypatch.setattr("profilers.protocol.TIMING", 1000)

    assert Protocol().digest != before


def test_intervals_of_two_and_a_half_times_the_target_are_worth_further_rounds() -> None:
    assert Protocol().further_half_width == pytest.approx(0.05)
    assert Protocol.quick().further_half_width == pytest.approx(0.125)


def test_numbers_that_are_equal_make_the_same_protocol() -> None:
    assert Protocol(max_seconds=1).digest == Protocol(max_seconds=1.0).digest


def test_the_quick_protocol_takes_less_time_in_as_many_rounds() -> None:
    quick, full = Protocol.quick(), Protocol()

    assert quick.rounds == full.rounds
    assert quick.max_seconds + quick.warmup_seconds < (full.max_seconds + full.warmup_seconds) / 4


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 0},
        {"max_rounds": 0},
        {"min_units": 0},
        {"unit_seconds": 0.0},
        {"target_half_width": -0.1},
        {"max_seconds": float("inf")},
        {"warmup_seconds": -1.0},
        {"warmup_seconds": float("nan")},
        {"seed": -1},
        {"rounds": 2.5},
        {"rounds": 3.0},
        {"min_units": True},
        {"max_rounds": 2},
        {"rounds": 6},
        {"seed": 0.5},
    ],
)
def test_a_protocol_that_cannot_be_followed_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"Cannot measure with"):
        Protocol(**change)
