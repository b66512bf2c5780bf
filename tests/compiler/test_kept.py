"""Kept or not: each limit beside what was measured, and what is missed in words."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compiler.candidates import Candidate
from compiler.judged import Judged
from compiler.kept import chosen_by, keeps, measured, missed
from compiler.network import Blueprint
from compiler.quality import Quality
from profilers.measurement import Measurement
from targets.budget import Budget


def candidate(peak: int | None = 2_000_000, joules: float | None = 0.05) -> Candidate:
    model: Any = SimpleNamespace(weight_bytes=1_500_000)
    quality = Quality(10, 0.7, None, 0.5)
    latency = Measurement(
        "key", "net", ((0.001,) * 3,), (0.0,), False, peak_bytes=peak, joules=joules
    )
    return Candidate(Blueprint.pure("net", 16), model, Path(), Judged(quality, quality), latency)


def test_everything_that_was_measured_is_told() -> None:
    assert dict(measured(candidate())) == {
        "latency_us": 1000.0,
        "weight_bytes": 1_500_000.0,
        "memory_bytes": 2_000_000.0,
        "energy_j": 0.05,
    }
    assert list(dict(measured(candidate(None, None)))) == ["latency_us", "weight_bytes"]


def test_limits_are_kept_up_to_their_very_amount() -> None:
    limits = Budget(
        latency_us=1000.0,
        weight_bytes=1_500_000,
        memory_bytes=2_000_000,
        energy_j=0.05,
        min_quality=0.7,
        params=1,
    )

    assert keeps(limits, candidate())
    assert keeps(Budget(memory_bytes=1), candidate(peak=None))


def test_each_missed_limit_is_said() -> None:
    limits = Budget(latency_us=999.0, memory_bytes=1_999_999, min_quality=0.71)

    assert missed(limits, candidate()) == [
        "its latency (upper end) is 1 ms, asked for: 0.999 ms",
        "its peak memory is 2 MB, asked for: 2 MB",
        "its quality is 70.0 %, asked for: 71 %",
    ]


def test_what_is_chosen_by_is_speed_where_quality_is_demanded() -> None:
    assert chosen_by(Budget(), candidate()) is None
    assert chosen_by(Budget(min_quality=0.5), candidate()) == -1000.0


def test_a_latency_is_kept_on_every_target() -> None:
    there = Measurement("key", "net", ((0.003,) * 3,), (0.0,), False)
    made = replace(candidate(None, None), elsewhere=(("box", there),))
    limits = Budget(latency_us=1000.0, elsewhere=(("box", 3000.0),))
    tight = Budget(latency_us=999.0, elsewhere=(("box", 2999.0),))

    assert keeps(limits, made)
    assert dict(measured(made))["latency_us@box"] == pytest.approx(3000.0)
    assert missed(limits.limited("latency_us@box", 2999.0), made) == [
        "its latency on box (upper end) is 3 ms, asked for: 2.999 ms"
    ]
    assert missed(tight, made, "small") == [
        "its latency on small (upper end) is 1 ms, asked for: 0.999 ms",
        "its latency on box (upper end) is 3 ms, asked for: 2.999 ms",
    ]
