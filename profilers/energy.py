"""`EnergyMeter`: the energy that the machine has used, from whatever counter it offers."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SYS = Path("/sys")
_BOARD = ("VDD_IN", "POM_5V_IN", "SYS5V", "VIN")
"""Labels of the rail that feeds a whole board, on Jetsons and their like."""


class EnergyMeter(ABC):
    """Adds up energy from when it was made; whoever uses it reads it every few seconds or more."""

    @abstractmethod
    def joules(self) -> float:
        """Energy from when the meter was made until now, of the whole package or board.

        Raises:
            OSError: The counter can no longer be read.
        """


def find_meter(sys: Path = _SYS) -> EnergyMeter | None:
    """The machine's meter; None where it has none, or none that this user can read.

    Args:
        sys: Stands for /sys.
    """
    for make in (_rapl, _rail):
        with suppress(OSError):
            meter = make(sys)
            if meter is not None:
                return meter
    return None


class Spent:
    """Energy from when it was made, as far as there is a meter and the meter goes on telling."""

    def __init__(self, meter: EnergyMeter | None) -> None:
        """Starts counting; without a meter nothing is known."""
        self._meter = meter
        self._start = self._now()

    def joules(self) -> float | None:
        """Energy until now; None without a meter, and for ever once it failed."""
        now = self._now()
        return None if now is None or self._start is None else now - self._start

    def _now(self) -> float | None:
        if self._meter is None:
            return None
        try:
            return self._meter.joules()
        except OSError:
            self._meter = None
            return None


@dataclass(frozen=True, slots=True)
class RaplDomain:
    """One processor package: its counter in microjoules, and where that starts again from 0."""

    counter: Path
    range_uj: int


class RaplMeter(EnergyMeter):
    """Running average power limit: counters of the packages of Intel and AMD processors."""

    def __init__(self, domains: tuple[RaplDomain, ...]) -> None:
        """Starts counting.

        Raises:
            OSError: A counter cannot be read, which on many systems only root may.
        """
        self._domains = domains
        self._last = [_whole(domain.counter) for domain in domains]
        self._microjoules = 0

    def joules(self) -> float:
        """Energy of all packages; to be called before a counter comes round twice."""
        for index, domain in enumerate(self._domains):
            now = _whole(domain.counter)
            self._microjoules += (now - self._last[index]) % domain.range_uj
            self._last[index] = now
        return self._microjoules / 1e6


class RailMeter(EnergyMeter):
    """A sensor that tells power: each reading holds until the next, averaged with it."""

    def __init__(
        self, watts: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Starts counting.

        Args:
            watts: Reads the sensor.
            clock: Tells seconds.

        Raises:
            OSError: The sensor cannot be read.
        """
        self._read, self._clock = watts, clock
        self._watts, self._time = watts(), clock()
        self._joules = 0.0

    def joules(self) -> float:
        """Energy through the rail, as exact as it is read often."""
        watts, now = self._read(), self._clock()
        self._joules += (watts + self._watts) / 2 * (now - self._time)
        self._watts, self._time = watts, now
        return self._joules


def _rapl(sys: Path) -> EnergyMeter | None:
    domains = _rapl_domains(sys)
    return RaplMeter(domains) if domains else None


def _rail(sys: Path) -> EnergyMeter | None:
    watts = _board_rail(sys)
    return RailMeter(watts) if watts else None


def _rapl_domains(sys: Path) -> tuple[RaplDomain, ...]:
    """The packages; not their parts (cores, memory), and not the platform that holds them all."""
    folders = sorted((sys / "class/powercap").glob("intel-rapl:*"))
    return tuple(
        RaplDomain(folder / "energy_uj", _whole(folder / "max_energy_range_uj") + 1)
        for folder in folders
        if folder.name.count(":") == 1 and _text(folder / "name").startswith("package")
    )


def _board_rail(sys: Path) -> Callable[[], float] | None:
    """Reads the watts of the sensor channel that feeds the board: volts times amperes."""
    for label in sorted((sys / "class/hwmon").glob("hwmon*/in*_label")):
        if _text(label).strip() not in _BOARD:
            continue
        volts = label.with_name(label.name.replace("_label", "_input"))
        amperes = volts.with_name(volts.name.replace("in", "curr", 1))
        return lambda: _whole(volts) * _whole(amperes) / 1e6  # millivolts times milliamperes
    return None


def _whole(file: Path) -> int:
    """The amount in a file.

    Raises:
        OSError: It cannot be read, or holds no amount.
    """
    text = _text(file).strip()
    if not text.isdecimal():
        raise OSError(f"{file} holds no whole number from 0 up: {text[:40]!r}")
    return int(text)


def _text(file: Path) -> str:
    return file.read_text(encoding="ascii", errors="replace")
