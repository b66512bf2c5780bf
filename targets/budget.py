"""`Budget` and the texts people write budgets in: "10ms", "75% of NAME", "50MB", "20M", "50mJ".

Every value prints as a text that parses to the same value.
"""

import re
from dataclasses import dataclass, replace
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
_JOULES = {"uJ": Decimal("1e-6"), "mJ": Decimal("1e-3"), "J": Decimal(1)}

RESOURCES = (
    "latency_us",
    "stitches",
    "params",
    "macs",
    "weight_bytes",
    "memory_bytes",
    "energy_j",
)
"""What a network costs of, as budgets, problem files and manifests name it."""

LATENCY = "latency_us"
"""The latency on the target that a network is looked for on; on others, see `latency_on`."""


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
    """What a network may cost and must be; None: not limited.

    Attributes:
        latency_us: Upper end of the latency of one inference, microseconds.
        stitches: Stitching layers; 0 asks for a donor alone.
        params: Parameters.
        macs: Multiply-accumulates of convolutions and linear layers.
        weight_bytes: Bytes of weights.
        memory_bytes: Peak memory of loading and running it, bytes.
        energy_j: Energy of one inference, joules.
        donors: Different donors.
        min_quality: Least quality, 0 to 1; the least latency is then what is looked for.
        required: Donors that must lend a block.
        excluded: Donors that must not.
        elsewhere: The same limit as `latency_us` on other targets, by target.
    """

    latency_us: float | None = None
    stitches: int | None = None
    params: int | None = None
    macs: int | None = None
    weight_bytes: int | None = None
    memory_bytes: int | None = None
    energy_j: float | None = None
    donors: int | None = None
    min_quality: float | None = None
    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    elsewhere: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        """Checks that every limit that is set can be met at all."""
        for name in (*RESOURCES, "donors"):
            value = getattr(self, name)
            if value is not None and name != "stitches":
                _check_positive(f"budget {name}", value, "")
        for target, latency_us in self.elsewhere:
            _check_positive(f"budget {latency_on(target)}", latency_us, "")
        if self.stitches is not None and self.stitches < 0:
            raise UsageError(
                f"Cannot use {self.stitches} as the number of stitches. "
                f"Use a whole number from 0 up."
            )
        if self.min_quality is not None and not 0 < self.min_quality <= 1:
            raise UsageError(
                f"Cannot use {self.min_quality} as the least quality. Use a share above 0 and at "
                f"most 1, e.g. --min-quality 80%."
            )
        if both := sorted(set(self.required) & set(self.excluded)):
            raise UsageError(
                f"The donor {both[0]!r} must be in the network (--with) and must not be in it "
                f"(--without, --exclude-licence). Leave one of the two out."
            )

    def amounts(self) -> tuple[tuple[str, float], ...]:
        """The limits on what adds up along a network, by resource, in the order of `RESOURCES`.

        Latencies on other targets come behind the first one.
        """
        first, *others = ((name, getattr(self, name)) for name in RESOURCES)
        elsewhere = ((latency_on(target), limit) for target, limit in self.elsewhere)
        named = (first, *elsewhere, *others)
        return tuple((name, float(value)) for name, value in named if value is not None)

    def without(self, resource: str) -> "Budget":
        """The budget without its limit on a resource."""
        target = target_of(resource)
        if target is None:
            return replace(self, **{resource: None})  # type: ignore[arg-type]  # names its field
        left = tuple(pair for pair in self.elsewhere if pair[0] != target)
        return replace(self, elsewhere=left)

    def limited(self, resource: str, amount: float) -> "Budget":
        """The budget with another limit on a resource."""
        target = target_of(resource)
        if target is None:
            return replace(self, **{resource: amount})  # type: ignore[arg-type]  # names its field
        moved = [(name, amount if name == target else limit) for name, limit in self.elsewhere]
        return replace(self, elsewhere=tuple(moved))


def latency_on(target: str) -> str:
    """The resource that is the latency on another target than the one searched for."""
    return f"{LATENCY}@{target}"


def target_of(resource: str) -> str | None:
    """The target whose latency a resource is; None: it is none of another target."""
    kind, _, target = resource.partition("@")
    return target if kind == LATENCY and target else None


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


def parse_latency_on(text: str) -> tuple[str, str]:
    """Reads "6ms on cpu:threads=2" or "75% of NAME on box.toml": the latency and the target.

    Raises:
        UsageError: There is no target in it, or what stands before it is no latency.
    """
    latency, on, target = (part.strip() for part in text.partition(" on "))
    if not on or not target:
        raise UsageError(
            f"Cannot read {text!r} as a latency on another target. Say both, e.g. "
            f'--also "6ms on cpu:threads=2".'
        )
    parse_latency(latency)
    return latency, target


def parse_latency_range(text: str) -> tuple[Latency, Latency]:
    """Reads "5ms..30ms": the lowest and the highest latency of a row.

    Raises:
        UsageError: It is no such range, or its first latency is not below its second.
    """
    first, dots, last = text.partition("..")
    ends = [parse_latency(end) for end in (first, last)] if dots else []
    low, high = ends or (None, None)
    if not (isinstance(low, Latency) and isinstance(high, Latency)):
        raise UsageError(
            f"Cannot read {text!r} as a range of latencies. Use two latencies, the lower one "
            f"first, e.g. --latency 5ms..30ms."
        )
    if low.us >= high.us:
        raise UsageError(
            f"Cannot read {text!r} as a range of latencies: the lower one comes first, e.g. "
            f"--latency 5ms..30ms."
        )
    return low, high


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


def parse_energy(text: str) -> float:
    """Reads "50mJ", "500uJ" or "0.05J" as joules.

    Raises:
        UsageError: It is no positive energy with a unit.
    """
    number, unit = _split(text, _JOULES)
    if number is None or unit is None or not 0 < number < _LARGEST:
        raise UsageError(
            f"Cannot read {text!r} as an energy. Use a number and a unit (uJ, mJ, J), e.g. "
            f"--energy 50mJ."
        )
    return float(number * unit)


def parse_drop(text: str) -> float:
    """Reads "1%" or "0.01" as a share; none may be lost by "0%".

    Raises:
        UsageError: It is no share from 0 to 1.
    """
    share = _share(text)
    if share is None or not 0 <= share <= 1:
        raise UsageError(
            f"Cannot read {text!r} as the most that int8 may cost. Use a percentage from 0 to 100, "
            f"e.g. --max-drop 1%."
        )
    return float(share)


def parse_quality(text: str) -> float:
    """Reads "80%" or "0.8" as a share.

    Raises:
        UsageError: It is no share above 0 and at most 1.
    """
    share = _share(text)
    if share is None or not 0 < share <= 1:
        raise UsageError(
            f"Cannot read {text!r} as a quality. Use a percentage above 0 and at most 100, e.g. "
            f"--min-quality 80%."
        )
    return float(share)


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


def _share(text: str) -> Decimal | None:
    """A share, from "80%" or "0.8"."""
    stripped = text.strip()
    number = _number(stripped.removesuffix("%").rstrip())
    return None if number is None else number / (100 if stripped.endswith("%") else 1)


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
