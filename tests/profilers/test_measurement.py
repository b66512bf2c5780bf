from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers.measurement import Measurement, median_interval
from targets.errors import UsageError

seconds = st.floats(min_value=1e-7, max_value=10)
rounds = st.lists(st.lists(seconds, min_size=1, max_size=20), min_size=1, max_size=6)


def made(
    *samples: list[float], capped: bool = False, scales: tuple[float, ...] = ()
) -> Measurement:
    return Measurement(
        key="k",
        name="block",
        rounds=tuple(tuple(one) for one in samples),
        load_seconds=(0.1,) * len(samples),
        capped=capped,
        scales=scales,
    )


def test_statistics_are_in_microseconds() -> None:
    found = made([1e-3, 2e-3, 3e-3], [2e-3, 3e-3, 4e-3])

    assert found.n == 6
    assert found.median_us == pytest.approx(2500)
    assert found.mad_us == pytest.approx(500)
    assert found.p90_us == pytest.approx(3500)
    assert found.p99_us == pytest.approx(3950)


def test_a_long_round_does_not_outvote_short_ones() -> None:
    assert made([1e-3] * 100, [2e-3], [3e-3]).median_us == pytest.approx(2000)


def test_the_interval_holds_what_differs_between_rounds() -> None:
    steady = made([1e-3] * 50, [1e-3] * 50, [1e-3] * 50)
    jumping = made([0.9e-3] * 50, [1e-3] * 50, [1.1e-3] * 50)

    assert steady.interval_us == pytest.approx((1000, 1000))
    # Student's t for 2 degrees of freedom is 4.303; the standard error is 100 / sqrt(3).
    assert jumping.interval_us == pytest.approx((1000 - 248.4, 1000 + 248.4), rel=1e-3)
    assert jumping.upper_us == jumping.interval_us[1]
    assert jumping.relative_half_width == pytest.approx(0.2484, rel=1e-3)


def test_one_round_has_only_the_interval_of_its_order_statistics() -> None:
    found = made([i * 1e-6 for i in range(1, 10)])

    # Of 9 samples the 2nd and 8th enclose the median with 96 %.
    assert found.interval_us == pytest.approx((2, 8))


def test_the_sentinels_factor_corrects_its_round_and_raw_samples_stay() -> None:
    found = made([1e-3] * 9, [2e-3] * 9, scales=(1.0, 0.5))

    assert found.median_us == pytest.approx(1000)
    assert found.interval_us == pytest.approx((1000, 1000))
    assert found.rounds[1][0] == 2e-3


def test_the_standard_error_is_that_of_the_mean_of_the_rounds_medians() -> None:
    found = made([1e-3] * 20, [1e-3] * 20, [1.3e-3] * 20)

    # Medians 1000, 1000 and 1300 us have a standard deviation of 173.2; the samples' order
    # statistics reach from 1000 to 1300.
    assert found.standard_error_us == pytest.approx(max(173.205 / 3**0.5, 150 / 1.96), rel=1e-4)


def test_rounds_that_agree_leave_the_error_of_the_samples() -> None:
    samples = [1e-3, 1.1e-3] * 10

    assert made(samples).standard_error_us == pytest.approx(50 / 1.96)
    assert made(samples, samples).standard_error_us == pytest.approx(50 / 1.96)


@given(samples=rounds)
def test_a_standard_error_is_never_wider_than_half_the_interval(samples: list[list[float]]) -> None:
    found = made(*samples)
    low, high = found.interval_us

    assert 0 <= found.standard_error_us <= (high - low) / 2 * (1 + 1e-9)


def test_a_capped_or_wide_measurement_is_noisy() -> None:
    steady = [1e-3] * 20

    assert not made(steady, steady).noisy
    assert made(steady, steady, capped=True).noisy
    assert made(steady, [1.5e-3] * 20).noisy


def test_a_noisy_measurement_says_why() -> None:
    steady = made([1e-3] * 20, [1e-3] * 20)

    assert steady.noise is None
    assert replace(steady, capped=True).noise == "time ran out"
    assert made([1e-3] * 9, [1.5e-3] * 9).noise == "interval wider than 10%"
    assert (
        replace(steady, contention=0.34).noise
        == "processors were waited for or used by others 34% of the time"
    )
    assert replace(steady, drift=0.25).noise == "the machine was 25% off its usual speed"
    assert replace(steady, capped=True, contention=0.5).noise == (
        "time ran out, processors were waited for or used by others 50% of the time"
    )


def test_a_little_contention_is_everywhere_and_no_reason() -> None:
    quiet = replace(made([1e-3] * 20), contention=0.1)

    assert not quiet.noisy


@pytest.mark.parametrize(
    ("n", "dropped"), [(1, 0), (2, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (20, 5), (100, 39)]
)
def test_the_interval_of_the_median_is_the_binomial_one(n: int, dropped: int) -> None:
    low, high = median_interval(range(n, 0, -1))

    assert (low, high) == (1 + dropped, n - dropped)


@given(rounds)
def test_the_interval_contains_the_median_and_is_not_negative(samples: list[list[float]]) -> None:
    found = made(*samples)
    low, high = found.interval_us

    assert 0 <= low <= found.median_us <= high
    assert found.upper_us == high
    assert found.mad_us >= 0
    assert found.p90_us <= found.p99_us


@given(rounds, st.sampled_from([0.5, 2.0, 4.0]))
def test_a_clock_that_runs_faster_changes_nothing_but_the_scale(
    samples: list[list[float]], factor: float
) -> None:
    plain = made(*samples)
    scaled = made(*samples, scales=(factor,) * len(samples))

    assert scaled.median_us == pytest.approx(plain.median_us * factor)
    assert scaled.interval_us == pytest.approx(tuple(end * factor for end in plain.interval_us))
    assert scaled.relative_half_width == pytest.approx(plain.relative_half_width)


def test_the_interval_covers_the_true_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        levels = random.normal(1.0, 0.05, 3)
        samples = [random.normal(level, 0.02, 12).tolist() for level in levels]
        low, high = made(*samples).interval_us
        hits += low <= 1e6 <= high

    assert hits / 400 >= 0.93


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "has a round without samples"),
        ([[1.0], []], "has a round without samples"),
        ([[0.0]], "no positive, finite"),
        ([[float("inf")]], "no positive, finite"),
        ([[float("nan")]], "no positive, finite"),
    ],
)
def test_what_has_no_median_is_no_measurement(samples: list[list[float]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(*samples)


def test_every_round_has_one_factor() -> None:
    with pytest.raises(UsageError, match=r"1 rounds but 2 drift corrections"):
        made([1.0], scales=(1.0, 1.0))


@pytest.mark.parametrize(
    "change",
    [{"peak_bytes": -1}, {"joules": -0.5}, {"contention": float("nan")}, {"drift": float("inf")}],
)
def test_what_else_was_measured_is_a_number_from_zero_up(change: dict[str, Any]) -> None:
    (name,) = change

    with pytest.raises(UsageError, match=rf"has {name}=.*Measure the model again"):
        replace(made([1.0]), **change)
