"""`Target`: which device runs the network, and how; one short string describes it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from targets.errors import UnknownNameError, UsageError
from targets.machine import usable_cores

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_PRECISIONS = ("bf16", "fp16", "fp32", "int8")


@dataclass(frozen=True, slots=True)
class Target:
    """A device, its runtime, and the settings that a latency depends on.

    Attributes:
        name: A shipped target's name, such as `cpu`.
        backend: The runtime's name in `backends.registry`.
        threads: Threads of one inference, the calling thread included.
        precisions: Precisions that may be used.
        spinning: Whether idle threads spin instead of sleeping.
        affinity: Logical processors, one a thread, the calling thread's first; empty: unpinned.
        transport: How the device is reached.
    """

    name: str
    backend: str
    threads: int
    precisions: tuple[str, ...] = ("fp32",)
    spinning: bool = True
    affinity: tuple[int, ...] = ()
    transport: Literal["local"] = "local"

    def __post_init__(self) -> None:
        """Checks every field; see the class for what each means."""
        if self.name not in _SHIPPED:
            raise UnknownNameError("target", self.name, _SHIPPED)
        if not _NAME.fullmatch(self.backend):
            raise UsageError(
                f"Cannot use {self.backend!r} as a backend's name. Use lower-case letters, digits, "
                f"'-', '_' and '.', e.g. ort."
            )
        if self.threads < 1:
            raise UsageError(f"Cannot use {self.threads} threads. Use a whole number from 1 up.")
        if self.transport != "local":
            raise UnknownNameError("transport", self.transport, ("local",))
        _check_precisions(self.precisions)
        _check_affinity(self.affinity, self.threads)

    def __str__(self) -> str:
        """The name and what differs from the shipped target; parses to an equal target."""
        shipped = _SHIPPED[self.name]()
        options = [
            f"{option}={_WRITERS[option](getattr(self, option))}"
            for option in _OPTIONS
            if getattr(self, option) != getattr(shipped, option)
        ]
        return f"{self.name}:{','.join(options)}" if options else self.name

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Reads `NAME` or `NAME:OPTION=VALUE,...`, e.g. `cpu:threads=2,spinning=off`.

        Several precisions or processors are joined by `+`: `cpu:threads=2,affinity=0+1`.

        Raises:
            UnknownNameError: No such target or option.
            UsageError: A value that its option cannot have.
        """
        name, colon, rest = text.strip().partition(":")
        if name not in _SHIPPED:
            raise UnknownNameError("target", name, _SHIPPED)
        target = _SHIPPED[name]()
        return replace(target, **_read_options(text, rest)) if colon else target


def get_target(text: str) -> Target:
    """The target that a text such as `cpu` or `cpu:threads=1` describes; see `Target.parse`."""
    return Target.parse(text)


def list_targets() -> tuple[Target, ...]:
    """Every shipped target with its settings on this machine, by name."""
    return tuple(_SHIPPED[name]() for name in sorted(_SHIPPED))


def _cpu() -> Target:
    return Target(name="cpu", backend="ort", threads=usable_cores())


def _reference() -> Target:
    return Target(name="reference", backend="reference", threads=1)


def _read_options(text: str, rest: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for part in rest.split(","):
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
        values[option] = _READERS[option](value)
    return values


def _read_threads(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", value):
        raise UsageError(
            f"Cannot read {value!r} as a number of threads. Use a whole number from 1 up, "
            f"e.g. threads=2."
        )
    return int(value)


def _read_switch(value: str) -> bool:
    if value not in ("on", "off"):
        raise UsageError(f"Cannot read {value!r} as a switch. Use on or off, e.g. spinning=off.")
    return value == "on"


def _read_affinity(value: str) -> tuple[int, ...]:
    if value == "any":
        return ()
    if not re.fullmatch(r"[0-9]{1,6}(\+[0-9]{1,6})*", value):
        raise UsageError(
            f"Cannot read {value!r} as an affinity. Join one processor number a thread by '+', "
            f"e.g. threads=2,affinity=0+1, or use affinity=any."
        )
    return tuple(int(part) for part in value.split("+"))


def _check_precisions(precisions: tuple[str, ...]) -> None:
    for precision in precisions:
        if precision not in _PRECISIONS:
            raise UnknownNameError("precision", precision, _PRECISIONS)
    if not precisions or len(set(precisions)) < len(precisions):
        raise UsageError(
            f"Cannot use the precisions {precisions}. Name each once and at least one, e.g. fp32."
        )


def _check_affinity(affinity: tuple[int, ...], threads: int) -> None:
    if not affinity:
        return
    if len(affinity) != threads or len(set(affinity)) < threads or min(affinity) < 0:
        raise UsageError(
            f"Cannot pin {threads} threads to the processors {list(affinity)}. Name one different "
            f"processor for every thread, e.g. threads=2,affinity=0+1."
        )


_SHIPPED: dict[str, Callable[[], Target]] = {"cpu": _cpu, "reference": _reference}
_READERS: dict[str, Callable[[str], object]] = {
    "backend": str,
    "threads": _read_threads,
    "precisions": lambda value: tuple(value.split("+")),
    "spinning": _read_switch,
    "affinity": _read_affinity,
    "transport": str,
}
_WRITERS: dict[str, Callable[..., str]] = {
    "backend": str,
    "threads": str,
    "precisions": "+".join,
    "spinning": lambda value: "on" if value else "off",
    "affinity": lambda value: "+".join(str(core) for core in value) or "any",
    "transport": str,
}
_OPTIONS = tuple(item.name for item in fields(Target) if item.name != "name")
