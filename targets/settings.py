"""Settings of a target: what each of them may be, and how options are written as one text."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from targets.errors import UnknownNameError, UsageError

PHYSICAL = "physical"
"""As a number of threads: all physical cores that this process may use."""
PRECISIONS = ("bf16", "fp16", "fp32", "int8")
TRANSPORTS = ("local",)

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_MODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 _.+-]*[A-Za-z0-9_.+-])?")
_ANY = "any"
_MOST_THREADS = 4096


def check_name(name: str) -> None:
    """Refuses what is no target's name; one that ends in .toml would be read as a file."""
    if not _NAME.fullmatch(name) or name.endswith(".toml"):
        raise UsageError(
            f"Cannot use {name!r} as a target's name. Use lower-case letters, digits, '-', '_' and "
            f"'.', e.g. my-box."
        )


def check_backend(backend: str) -> None:
    """Refuses what is no backend's name; whether there is such a backend is not looked at."""
    if not _NAME.fullmatch(backend):
        raise UsageError(
            f"Cannot use {backend!r} as a backend's name. Use lower-case letters, digits, "
            f"'-', '_' and '.', e.g. ort."
        )


def check_threads(threads: int) -> None:
    """Refuses fewer threads than one, and more than any machine has."""
    if not 1 <= threads <= _MOST_THREADS:
        raise UsageError(
            f"Cannot use {threads} threads. Use a whole number from 1 to {_MOST_THREADS}."
        )


def check_precisions(precisions: tuple[str, ...]) -> None:
    """Refuses unknown precisions, none at all, and one that is named twice."""
    for precision in precisions:
        if precision not in PRECISIONS:
            raise UnknownNameError("precision", precision, PRECISIONS)
    if not precisions or len(set(precisions)) < len(precisions):
        raise UsageError(
            f"Cannot use the precisions {precisions}. Name each once and at least one, e.g. fp32."
        )


def check_affinity(affinity: tuple[int, ...], threads: int) -> None:
    """Refuses anything but one different processor a thread; empty leaves threads unpinned."""
    if not affinity:
        return
    if len(affinity) != threads or len(set(affinity)) < threads or min(affinity) < 0:
        raise UsageError(
            f"Cannot pin {threads} threads to the processors {list(affinity)}. Name one different "
            f"processor for every thread, e.g. threads=2,affinity=0+1."
        )


def check_transport(transport: str) -> None:
    """Refuses ways to reach a device that there are not."""
    if transport not in TRANSPORTS:
        raise UnknownNameError("transport", transport, TRANSPORTS)


def check_power_mode(mode: str | None) -> None:
    """Refuses what could not be written as an option; None asks for no power mode."""
    if mode is not None and (not _MODE.fullmatch(mode) or mode == _ANY):
        raise UsageError(
            f"Cannot use {mode!r} as a power mode. Use the name that the machine gives it, of "
            f"letters, digits, blanks, '_', '.', '+' and '-', e.g. MAXN; leave it out for any mode."
        )


def read_threads(value: str) -> int | str:
    """Reads a number of threads, or `physical`.

    Raises:
        UsageError: It is neither.
    """
    if value == PHYSICAL:
        return value
    if not re.fullmatch(r"[0-9]{1,6}", value):
        raise UsageError(
            f"Cannot read {value!r} as a number of threads. Use a whole number from 1 up, "
            f"e.g. threads=2, or {PHYSICAL} for all physical cores."
        )
    return int(value)


def read_switch(value: str) -> bool:
    """Reads `on` or `off`."""
    if value not in ("on", "off"):
        raise UsageError(f"Cannot read {value!r} as a switch. Use on or off, e.g. spinning=off.")
    return value == "on"


def read_affinity(value: str) -> tuple[int, ...]:
    """Reads `0+1`, or `any` for no affinity."""
    if value == _ANY:
        return ()
    if not re.fullmatch(r"[0-9]{1,6}(\+[0-9]{1,6})*", value):
        raise UsageError(
            f"Cannot read {value!r} as an affinity. Join one processor number a thread by '+', "
            f"e.g. threads=2,affinity=0+1, or use affinity=any."
        )
    return tuple(int(part) for part in value.split("+"))


def read_precisions(value: str) -> tuple[str, ...]:
    """Reads `fp32+int8`; the names are checked where they are used."""
    return tuple(value.split("+"))


def read_power_mode(value: str) -> str | None:
    """Reads a power mode's name, or `any` for None."""
    return None if value == _ANY else value


def read_options(text: str, options: str) -> dict[str, Any]:
    """Reads `OPTION=VALUE,...` of the target `text`.

    Raises:
        UnknownNameError: No such option.
        UsageError: An option that is set twice, or a value that it cannot have.
    """
    values: dict[str, Any] = {}
    for part in options.split(","):
        option, equals, value = (item.strip() for item in part.partition("="))
        if not equals or not value:
            raise UsageError(
                f"Cannot read {part!r} in the target {text!r}. Write options as NAME=VALUE, "
                f"separated by commas, e.g. cpu:threads=2,spinning=off."
            )
        if option not in _READERS:
            raise UnknownNameError("target option", option, _READERS)
        if option in values:
            raise UsageError(f"The target {text!r} sets {option!r} twice. Set it once.")
        values[option] = read_option(option, value)
    return values


def read_option(option: str, text: str) -> object:
    """The value that an option's text stands for; what `write_option` is the inverse of."""
    return _READERS[option](text)


def write_options(values: Mapping[str, Any]) -> str:
    """The text that `read_options` reads as these values."""
    return ",".join(f"{option}={write_option(option, value)}" for option, value in values.items())


def write_option(option: str, value: Any) -> str:
    """One value as an option's text, such as `0+1` for an affinity of (0, 1)."""
    return _WRITERS[option](value)


_READERS: dict[str, Callable[[str], object]] = {
    "backend": str,
    "threads": read_threads,
    "precisions": read_precisions,
    "spinning": read_switch,
    "affinity": read_affinity,
    "transport": str,
    "power_mode": read_power_mode,
}
_WRITERS: dict[str, Callable[..., str]] = {
    "backend": str,
    "threads": str,
    "precisions": "+".join,
    "spinning": lambda value: "on" if value else "off",
    "affinity": lambda value: "+".join(str(core) for core in value) or _ANY,
    "transport": str,
    "power_mode": lambda value: value or _ANY,
}
OPTIONS = tuple(_READERS)
"""Names of all options, in the order in which they are written."""
