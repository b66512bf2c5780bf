from collections.abc import Mapping

import pytest

from backends.backend import Array, Engine
from backends.model import ExportedModel
from backends.reference import ReferenceEngine
from profilers.energy import RailMeter
from profilers.protocol import Protocol
from profilers.timing import measure

NOTHING: dict[str, Array] = {}


class Scripted(Engine):
    """An engine whose inferences take the times that it is given, the last one for ever."""

    def __init__(self, seconds: list[float]) -> None:
        super().__init__(ExportedModel(b"", (), (), "scripted"), 0.1)
        self._seconds = seconds
        self.calls: list[int] = []

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {}

    def _time(self, inputs: Mapping[str, Array], repeats: int) -> float:
        self.calls.append(repeats)
        now = self._seconds[0] if len(self._seconds) == 1 else self._seconds.pop(0)
        return now * repeats

    def _close(self) -> None:
        pass


def test_a_unit_is_grown_until_it_lasts_long_enough() -> None:
    engine = Scripted([1e-5])

    timing = measure(engine, NOTHING, Protocol(unit_seconds=0.005))

    assert engine.calls[0] == 1
    assert 500 <= engine.calls[-1] <= 600
    assert timing.samples == pytest.approx((1e-5,) * 8)
    assert not timing.capped


def test_a_slow_model_is_one_inference_a_unit() -> None:
    engine = Scripted([0.02])

    timing = measure(engine, NOTHING, Protocol())

    assert set(engine.calls) == {1}
    assert len(timing.samples) == 8
    assert not timing.capped


def test_warming_up_takes_the_time_that_the_protocol_says() -> None:
    engine = Scripted([1 / 64])

    timing = measure(engine, NOTHING, Protocol(warmup_seconds=8 / 64))

    assert len(engine.calls) - len(timing.samples) == 8


def test_a_model_that_never_settles_is_capped() -> None:
    engine = Scripted([0.01] * 5 + [0.01, 0.02] * 100 + [0.01])

    timing = measure(engine, NOTHING, Protocol(max_seconds=0.25))

    assert timing.capped
    assert sum(timing.samples) >= 0.25
    assert len(timing.samples) < 25


def test_a_model_that_is_slower_than_the_whole_time_still_gets_an_interval() -> None:
    timing = measure(Scripted([1.0]), NOTHING, Protocol(max_seconds=0.25))

    assert timing.samples == (1.0,) * 6
    assert not timing.capped


def test_fewer_units_than_an_interval_needs_are_never_enough() -> None:
    timing = measure(Scripted([0.01]), NOTHING, Protocol(min_units=2))

    assert len(timing.samples) == 6


def test_a_slow_model_whose_few_units_differ_is_capped() -> None:
    timing = measure(Scripted([1.0, 1.0, 1.2, 1.0]), NOTHING, Protocol(max_seconds=0.25))

    assert len(timing.samples) == 6
    assert timing.capped


def test_measuring_stops_as_soon_as_the_interval_is_narrow() -> None:
    engine = Scripted([0.01] * 5 + [0.01, 0.02] * 2 + [0.01])

    timing = measure(engine, NOTHING, Protocol(max_seconds=10))

    assert not timing.capped
    assert 8 < len(timing.samples) < 30


def test_warming_up_goes_on_while_the_engine_still_gets_faster() -> None:
    cooling = [(20 - i) / 64 for i in range(10)]
    engine = Scripted([*cooling, 10 / 64])

    timing = measure(engine, NOTHING, Protocol(warmup_seconds=4 / 64, max_seconds=10))

    # The last window is the first in which no half is faster than the other.
    assert not timing.capped
    assert set(timing.samples) == {10 / 64}
    assert len(engine.calls) - len(timing.samples) > len(cooling)


def test_an_engine_that_does_not_get_warm_in_time_is_capped() -> None:
    slowing = [0.01 * 1.05**i for i in range(200)]

    timing = measure(Scripted(slowing), NOTHING, Protocol(target_half_width=0.02))

    assert timing.capped


def test_noise_without_a_trend_is_not_warmed_away() -> None:
    engine = Scripted([0.01, 0.02] * 50 + [0.01])

    timing = measure(engine, NOTHING, Protocol(warmup_seconds=0.05))

    assert len(engine.calls) - len(timing.samples) == 4


def test_energy_is_that_of_the_timed_units_for_one_inference() -> None:
    clock = iter(range(1000))
    meter = RailMeter(watts=lambda: 3.0, clock=lambda: float(next(clock)))

    timing = measure(Scripted([1 / 64]), NOTHING, Protocol(), meter)

    # The clock moves on by a second at every reading, so a unit of one inference is said to take 1.
    assert timing.joules == pytest.approx(3.0)


def test_without_a_meter_the_energy_is_unknown() -> None:
    assert measure(Scripted([1 / 64]), NOTHING, Protocol()).joules is None


def test_a_meter_that_fails_leaves_the_times() -> None:
    def watts() -> float:
        readings.append(3.0)
        if len(readings) > 4:
            raise OSError("the sensor is gone")
        return 3.0

    readings: list[float] = []

    timing = measure(Scripted([1 / 64]), NOTHING, Protocol(), RailMeter(watts))

    assert timing.joules is None
    assert len(timing.samples) == 8


def test_of_a_simulated_engine_only_its_time_is_told() -> None:
    class Simulated(Scripted):
        simulated = True

    clock = iter(range(1000))
    meter = RailMeter(watts=lambda: 3.0, clock=lambda: float(next(clock)))

    timing = measure(Simulated([1 / 64]), NOTHING, Protocol(), meter)

    assert (timing.joules, timing.contention) == (None, None)
    assert ReferenceEngine.simulated
