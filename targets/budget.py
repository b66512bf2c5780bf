"""`Budget` and the texts people write budgets in: "10ms", "75% of NAME", "50MB", "20M".

Every value prints as a text that parses to the same value.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

from targets.errors import UsageError

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_SHARE = re.compile(r"(?P<number>\S+?)\s*%\s*of\s+(?P<model>\S+)")
_LARGEST = Decimal(10) ** 18

_MICROSECONDS = {"us": Decimal(1), "ms": Decimal(10**3), "s": Decimal(10**6)}
_BYTES = {
    **{unit: Decimal(1000**power) for power, unit in enumerate(("B", "kB", "MB", "GB", "TB"))},
    **{unit: Decimal(1024**power) for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), 1)},
}
_COUNTS = {unit: Decimal(1000**power) for power, unit in enumerate(("", "k", "M", "G", "T"))}


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency in microseconds."""

    us: float

    def __post_init__(self) -> None:
        """Checks that it is positive and finite."""
        _check_positive("latency", self.us, "microseconds")

    def __str__(self) -> str:
        """The latency with the largest unit that leaves at least 1, such as "10ms"."""
        return _write(Decimal(repr(float(self.us))), _MICROSECONDS)


@dataclass(frozen=True, slots=True)
class LatencyShare:
    """A share (0.75 for 75 percent) of the measured latency of a model."""

    share: float
    model: str

    def __post_init__(self) -> None:
        """Checks that the share is positive and finite and that a model is named."""
        _check_positive("latency share", self.share, "")
        if not self.model or self.model != "".join(self.model.split()):
            raise UsageError(
                f"Cannot use {self.model!r} as the donor of a latency share. Name one donor, "
                f'e.g. --latency "75% of tf_efficientnet_lite2".'
            )

    def __str__(self) -> str:
        """The share as a text such as "75% of NAME"."""
        return f"{_plain(Decimal(repr(float(self.share))) * 100)}% of {self.model}"


class Bytes(int):
    """A whole number of bytes that prints with its unit, such as "50MB"."""

    def __str__(self) -> str:
        """The number with the largest decimal unit that leaves at least 1."""
        return _write(Decimal(int(self)), {unit: _BYTES[unit] for unit in ("B", "kB", "MB", "GB")})


class Count(int):
    """A whole number that prints with its suffix, such as "20M"."""

    def __str__(self) -> str:
        """The number with the largest suffix (k, M, G, T) that leaves at least 1."""
        return _write(Decimal(int(self)), _COUNTS)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a network may cost; None: not limited.

    Attributes:
        latency_us: Measured latency of one inference, microseconds.
        memory_bytes: Bytes of weights and activations.
        params: Parameters.
        macs: Multiply-accumulates of convolutions and linear layers.
        stitches: Stitching layers; 0 asks for a donor alone.
        donors: Different donors.
    """

    latency_us: float | None = None
    memory_bytes: int | None = None
    params: int | None = None
    macs: int | None = None
    stitches: int | None = None
    donors: int | None = None

    def __post_init__(self) -> None:
        """Checks that every limit that is set can be met at all."""
        for name in ("latency_us", "memory_bytes", "params", "macs", "donors"):
            value = getattr(self, name)
            if value is not None:
                _check_positive(f"budget {name}", value, "")
        if self.stitches is not None and self.stitches < 0:
            raise UsageError(
                f"Cannot use {self.stitches} as the number of stitches. "
                f"Use a whole number from 0 up."
            )


def parse_latency(text: str) -> Latency | LatencyShare:
    """Reads "10ms", "500us", "0.01s" or "75% of NAME".

    Raises:
        UsageError: It is none of these, or it is not positive and finite.
    """
    share = _SHARE.fullmatch(text.strip())
    if share:
        percent = _number(share["number"])
        if percent is not None and 0 < percent < _LARGEST:
            return LatencyShare(float(percent / 100), share["model"])
    number, unit = _split(text, _MICROSECONDS)
    if number is None or unit is None or not 0 < number < _LARGEST:
        raise UsageError(
            f"Cannot read {text!r} as a latency. Use a number and a unit (us, ms, s), e.g. "
            f'--latency 10ms, or a share of a donor, e.g. --latency "75% of tf_efficientnet_lite2".'
        )
    return Latency(float(number * unit))


def parse_bytes(text: str) -> Bytes:
    """Reads "50MB" (decimal) or "50MiB" (binary) as whole bytes, rounded down.

    Raises:
        UsageError: It is no positive size with a unit.
    """
    whole = _whole(text, _BYTES)
    if whole is None:
        raise UsageError(
            f"Cannot read {text!r} as a size. Use a number and a unit (B, kB, MB, GB, KiB, MiB, "
            f"GiB), e.g. --memory 50MB."
        )
    return Bytes(whole)


def parse_count(text: str) -> Count:
    """Reads "20M", "3.5G", "4e6" or "20000" as a whole number, rounded down.

    Raises:
        UsageError: It is no positive number with one of the suffixes k, M, G, T.
    """
    whole = _whole(text, _COUNTS)
    if whole is None:
        raise UsageError(
            f"Cannot read {text!r} as a count. Use a number, with a suffix (k, M, G, T) if you "
            f"like, e.g. --params 20M."
        )
    return Count(whole)


def _whole(text: str, units: dict[str, Decimal]) -> int | None:
    number, unit = _split(text, units)
    if number is None or unit is None or number >= _LARGEST:
        return None
    return int(number * unit) or None


def _split(text: str, units: dict[str, Decimal]) -> tuple[Decimal | None, Decimal | None]:
    stripped = text.strip().replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")
    match = _NUMBER.match(stripped)
    if not match:
        return None, None
    known = {unit.lower(): size for unit, size in units.items()}
    return _number(match[0]), known.get(stripped[match.end() :].strip().lower())


def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _write(value: Decimal, units: dict[str, Decimal]) -> str:
    fitting = [(size, unit) for unit, size in units.items() if size <= value]
    size, unit = max(fitting) if fitting else min((size, unit) for unit, size in units.items())
    return f"{_plain(value / size)}{unit}"


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _check_positive(what: str, value: float, unit: str) -> None:
    if not isfinite(value) or value <= 0:
        number = f"{value} {unit}".strip()
        raise UsageError(f"Cannot use {number} as a {what}. Use a finite number above 0.")
