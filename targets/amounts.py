"""Amounts of what networks cost, as people read and write them."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

from targets.budget import LATENCY, target_of

WORDS: Mapping[str, str] = {
    "latency_us": "latency (upper end)",
    "stitches": "number of stitches",
    "params": "number of parameters",
    "macs": "number of MACs",
    "weight_bytes": "memory of the weights",
    "memory_bytes": "peak memory",
    "energy_j": "energy",
    "donors": "number of donors",
    "int8_error": "error of the int8 blocks",
}
"""What every resource is called; latency on other targets by `words`."""

_DIGITS = 4
_BYTES = {"GB": 10**9, "MB": 10**6, "kB": 10**3, "B": 1}
_UNITS: Mapping[str, Mapping[str, int | Decimal]] = {
    "latency_us": {"ms": 1000},
    "params": {"M": 10**6, "k": 10**3, "": 1},
    "macs": {"M": 10**6, "k": 10**3, "": 1},
    "weight_bytes": _BYTES,
    "memory_bytes": _BYTES,
    "energy_j": {"mJ": Decimal("0.001")},
}


def words(resource: str, here: str = "") -> str:
    """What a resource is called.

    Args:
        resource: as budgets and problem files name it.
        here: the target that `latency_us` is measured on, where there are others beside it.
    """
    target = target_of(resource) or (here if resource == LATENCY else "")
    return f"latency on {target} (upper end)" if target else WORDS.get(resource, resource)


def amount_text(resource: str, amount: float) -> str:
    """An amount with its unit, to four digits: "9.713 ms", "4.652 M", "12.4 MB"."""
    return _text(resource, amount, ROUND_HALF_EVEN)


def enough_text(resource: str, amount: float) -> str:
    """An amount rounded up: a budget of exactly this text is kept by what costs the amount."""
    return _text(resource, amount, ROUND_CEILING)


def least_text(resource: str, amount: float, proven: bool) -> str:
    """The least that is enough, rounded up; a limit on it where it was not proven."""
    return f"{'' if proven else 'at most '}{enough_text(resource, amount)}"


def _text(resource: str, amount: float, rounding: str) -> str:
    value = Decimal(repr(float(amount)))
    if value:
        step = Decimal(1).scaleb(value.adjusted() - _DIGITS + 1)
        value = value.quantize(step, rounding) if value.as_tuple() != step.as_tuple() else value
    units = _UNITS.get(resource.partition("@")[0], {"": 1})
    unit = next((unit for unit, size in units.items() if value >= size), list(units)[-1])
    number = f"{value / units[unit]:f}"
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{number} {unit}".rstrip()
