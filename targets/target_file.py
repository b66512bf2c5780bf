"""`TargetFile`: what a target's TOML file says, before it is applied to a machine.

    format = "derycc.target/1"
    name = "my-box"
    backend = "ort"
    threads = 2                     or "physical": all physical cores that may be used
    affinity = [0, 1]               one processor a thread; left out: unpinned
    spinning = true
    precisions = ["fp32", "int8"]
    power_mode = "MAXN"             left out: any
    description = "The box in the corner"

    [transport]
    kind = "local"

Everything but format, name and backend may be left out. A transport of another kind is another
set of keys in the same table, so that the format stays.
"""

import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from targets.errors import UnknownNameError, UsageError
from targets.settings import (
    check_affinity,
    check_backend,
    check_name,
    check_power_mode,
    check_precisions,
    check_threads,
)

FORMAT = "derycc.target/1"

_STRICT = ConfigDict(extra="forbid", strict=True)
_ALLOWED = {
    "name": "a text of lower-case letters, digits, '-', '_' and '.'",
    "backend": 'the name of a backend, e.g. "ort"',
    "threads": '"physical" (all physical cores that may be used) or a whole number from 1 up',
    "affinity": "a list of processor numbers, one a thread, e.g. [0, 1]",
    "spinning": "true or false",
    "precisions": 'a list of names, e.g. ["fp32", "int8"]',
    "power_mode": 'the name of a power mode, e.g. "MAXN"',
    "description": "one line of text",
    "transport": 'a table [transport] with kind = "local"',
    "transport.kind": '"local"',
}


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Transport:
    """How a device is reached: `local` is this machine."""

    kind: Literal["local"] = "local"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class TargetFile:
    """The content of a target's file; see the module for its keys, and `Target` for their meaning.

    `threads` may be the word `physical`, which `Target` makes a number.
    """

    name: str
    backend: str
    threads: int | Literal["physical"] = "physical"
    affinity: tuple[int, ...] = ()
    spinning: bool = True
    precisions: tuple[str, ...] = ("fp32",)
    power_mode: str | None = None
    description: str = ""
    transport: Transport = Transport()

    def __post_init__(self) -> None:
        """Checks every value; an error names the key."""
        with _at("name"):
            check_name(self.name)
        with _at("backend"):
            check_backend(self.backend)
        with _at("threads"):
            check_threads(1 if self.threads == "physical" else self.threads)
        with _at("affinity"):
            _check_pinned(self.affinity, self.threads)
        with _at("precisions"):
            check_precisions(self.precisions)
        with _at("power_mode"):
            check_power_mode(self.power_mode)
        with _at("description"):
            _check_line(self.description)

    def to_toml(self) -> str:
        """The text of a file that says this; what is left out by default is left out."""
        values: dict[str, object] = {
            "format": FORMAT,
            "name": self.name,
            "backend": self.backend,
            "threads": self.threads,
            "affinity": self.affinity or None,
            "spinning": self.spinning,
            "precisions": self.precisions,
            "power_mode": self.power_mode,
            "description": self.description or None,
        }
        lines = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
        return "\n".join([*lines, "", "[transport]", f"kind = {_toml(self.transport.kind)}", ""])


def read_target_file(path: Path) -> TargetFile:
    """Reads a target's file.

    Raises:
        UsageError: It cannot be read, is no TOML, or has a key or value that cannot be; the
            message names the file, the key and what is allowed.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(
            f"Cannot read the target file '{path}': {error.strerror or error}. Give the path of a "
            f"TOML file of the format {FORMAT}, or the name of a target (derycc targets list)."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"Cannot use the target file '{path}': byte {error.start} is not UTF-8. Save it as "
            f"TOML in UTF-8."
        ) from error
    return parse_target_file(text, f"the target file '{path}'")


def parse_target_file(text: str, where: str = "the target") -> TargetFile:
    """Reads the text of a target's file; `where` is what messages call it.

    Raises:
        UsageError: As for `read_target_file`.
    """
    try:
        return _adapter().validate_json(_json(_content(text)))
    except ValidationError as error:
        raise UsageError(f"Cannot use {where}: {_first_fault(error)}") from error
    except UsageError as error:
        raise UsageError(f"Cannot use {where}: {error}") from error


def _content(text: str) -> dict[str, Any]:
    """The keys of a file of this format, without the format itself."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number may have too many digits
        raise UsageError(f"it is not TOML: {error}. Correct it there.") from error
    found = content.pop("format", None)
    if found != FORMAT:
        said = "has no format" if found is None else f"has the format {found!r}"
        raise UsageError(
            f'it {said}. This version of derycc reads format = "{FORMAT}": write that line first, '
            f"or use the version of derycc that wrote the file."
        )
    return content


def _json(content: dict[str, Any]) -> str:
    try:
        return json.dumps(content, default=_no_text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"it has a value that no key may have: {error}. Correct it.") from error


def _first_fault(error: ValidationError) -> str:
    """The key that is wrong, what it is and what it may be."""
    fault = error.errors(include_url=False)[0]
    if not fault["loc"]:
        return f"it has a value that no key may have: {fault['msg']}. Correct it."
    table, *inner = map(str, fault["loc"])
    key = f"{table}.{inner[0]}" if table == "transport" and inner else table
    if fault["type"] == "unexpected_keyword_argument":
        if key != table:
            return str(UnknownNameError("key of [transport]", inner[0], ["kind"]))
        return str(UnknownNameError("key", key, [item.name for item in fields(TargetFile)]))
    allowed = _ALLOWED[key]
    if fault["type"] == "missing":
        return f"the key {key!r} is missing. It is {allowed}."
    given = repr(fault["input"])
    given = given if len(given) <= 60 else f"{given[:57]}..."
    return f"the key {key!r} is {given}. Use {allowed}."


@contextmanager
def _at(key: str) -> Iterator[None]:
    """Names the key in the errors of its checks."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"the key {key!r}: {error}") from error


def _check_pinned(affinity: tuple[int, ...], threads: int | Literal["physical"]) -> None:
    if threads != "physical":
        check_affinity(affinity, threads)
    elif affinity:
        raise UsageError(
            f"Cannot pin all physical cores to the processors {list(affinity)}. Give the number of "
            f"threads: threads = {len(affinity)}."
        )


def _check_line(text: str) -> None:
    if not text.isprintable():
        raise UsageError(f"Cannot use {text!r} as a description. Use one line of text.")


def _toml(value: object) -> str:
    """A text, number, switch or list as TOML; texts have been checked to be printable."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _no_text(value: object) -> list[str]:
    """What TOML has and JSON has not (dates), as something that no key may be."""
    return [str(value)]


@cache
def _adapter() -> TypeAdapter[TargetFile]:
    return TypeAdapter(TargetFile)
