"""Times one engine by the protocol: warms it up, measures units, and says what else was seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from backends.backend import Array, Engine
from profilers.contention import Load
from profilers.energy import EnergyMeter, Spent
from profilers.measurement import median_interval
from profilers.protocol import Protocol

_LEAST_UNITS = 6
"""Of fewer units no interval of the median is known: a slow model gets them whatever the limit."""
_GROWTH = 1.618
_WINDOW = 8
"""Units that are compared, half with half, to see whether an engine is warm."""
_SHORT_WINDOW = 4
"""As many suffice where they last as long as `_WINDOW` units of the least duration."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What one engine took in one round.

    Attributes:
        samples: Seconds per inference of each unit.
        capped: Whether the time ran out before the engine was warm, or before the interval of the
            median was narrow enough.
        joules: Energy of one inference; None without a meter, or where it failed.
        contention: As `profilers.contention.Load.contention`; None where it is not known.
    """

    samples: tuple[float, ...]
    capped: bool
    joules: float | None = None
    contention: float | None = None


def measure(
    engine: Engine,
    inputs: Mapping[str, Array],
    protocol: Protocol,
    meter: EnergyMeter | None = None,
) -> Timing:
    """Warms an engine up and times it by the protocol.

    The meter is read between the units, and contention covers the warm-up too. Of a simulated
    engine neither is told.
    """
    before = Load.now()
    repeats, warm = _warm_up(engine, inputs, protocol)
    energy = Spent(None if engine.simulated else meter)
    samples: list[float] = []
    while True:
        samples.append(engine.time(inputs, repeats) / repeats)
        used = energy.joules()
        narrow = _narrow(samples, protocol)
        spent = sum(samples) * repeats
        if narrow and len(samples) >= protocol.min_units:
            break
        if spent >= protocol.max_seconds and len(samples) >= _LEAST_UNITS:
            break
    return Timing(
        samples=tuple(samples),
        capped=not (warm and narrow),
        joules=used / (repeats * len(samples)) if used else None,
        contention=None if engine.simulated else before.contention(Load.now()),
    )


def _warm_up(engine: Engine, inputs: Mapping[str, Array], protocol: Protocol) -> tuple[int, bool]:
    """Runs until the engine is warm, or has had its time.

    Returns:
        How many inferences make a unit, and whether the engine was warm in the end.
    """
    repeats, spent = 1, 0.0
    units: list[float] = []
    limit = protocol.warmup_seconds + protocol.max_seconds
    while True:
        seconds = engine.time(inputs, repeats)
        spent += seconds
        if seconds < protocol.unit_seconds:
            wanted = protocol.unit_seconds / max(seconds, 1e-9) * repeats
            repeats = max(repeats + 1, min(round(wanted * 1.05), round(repeats * _GROWTH**5)))
            units.clear()
            continue
        units.append(seconds)
        settled = _settled(units[-_WINDOW:], protocol)
        done = settled and _full(units, protocol)
        if spent >= protocol.warmup_seconds and (done or spent >= limit):
            return repeats, settled


def _full(units: Sequence[float], protocol: Protocol) -> bool:
    long = sum(units) >= _WINDOW * protocol.unit_seconds
    return len(units) >= (_SHORT_WINDOW if long else _WINDOW)


def _settled(units: Sequence[float], protocol: Protocol) -> bool:
    """Whether the halves of some units agree: no trend is left that is not lost in the noise.

    Medians that differ by less than the target agree. So do halves whose ranges overlap: that much
    noise is none that a longer warm-up would end, and it shows in the interval. Of 8 steady units
    the halves are apart by chance in 1 of 35 windows, and then a later one decides.
    """
    if len(units) < 2:
        return True
    first, second = units[: len(units) // 2], units[len(units) // 2 :]
    width = protocol.target_half_width * median(units)
    near = abs(median(first) - median(second)) <= width
    return near or (min(first) <= max(second) and min(second) <= max(first))


def _narrow(samples: Sequence[float], protocol: Protocol) -> bool:
    if len(samples) < _LEAST_UNITS:
        return False
    low, high = median_interval(samples)
    return high - low <= 2 * protocol.target_half_width * median(samples)
