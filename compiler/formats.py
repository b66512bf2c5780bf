"""Formats: JSON files with a format version, checked before their content is looked at."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from targets.errors import UsageError

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape that may stand for half a character."""


def read_text(path: Path, what: str, expected: str, *, most_bytes: int | None = None) -> str:
    """The text of a file; `what` is what messages call it, `expected` the format it should have.

    Raises:
        UsageError: it cannot be read, is no text, or has more than `most_bytes`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(-1 if most_bytes is None else most_bytes + 1)
        if most_bytes is not None and len(content) > most_bytes:
            raise UsageError(
                f"The {what} '{path}' is larger than {most_bytes // 2**20} MiB, which is the most "
                "that is read. Leave out what no answer would use, or split it."
            )
        return content.decode("utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"Cannot read the {what} '{path}': {reason}. Give the path of a {expected} file."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The {what} '{path}' is not text: byte {error.start} is not UTF-8. "
            f"Give a {expected} file, which is JSON in UTF-8."
        ) from error


def checked_content(text: str, where: str, expected: str) -> Mapping[str, Any]:
    """The content of a JSON file of this format.

    Args:
        text: of the file.
        where: what messages call the file.
        expected: the format, such as `derycc.problem/1`.

    Raises:
        UsageError: no JSON, or another format.
    """
    return check_format(parsed(text, where, expected), where, expected)


def parsed(text: str, where: str, expected: str, **how: Any) -> Any:
    """What a JSON text says; `how` goes to `json.loads`.

    Raises:
        UsageError: it is no JSON, or has half a character, which no text that is written can have.
    """
    try:
        content = json.loads(text, **how)
        if _HALF.search(text) and (half := half_character(json.dumps(content, ensure_ascii=False))):
            raise UsageError(
                f"{where} has {half}, which is half a character: no text can be written with it. "
                "Give the whole character, or another name."
            )
        return content
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}. "
            f"Correct it there, or give a {expected} file."
        ) from error
    except RecursionError as error:
        raise UsageError(f"{where} is nested too deeply. Give a {expected} file.") from error


def half_character(text: str) -> str | None:
    """The first half of a character in a text, as JSON escapes it; None where all are whole."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"\\u{ord(text[error.start]):04x}"
    return None


def check_format(content: Any, where: str, expected: str) -> Mapping[str, Any]:
    """The content, if it says that it is of this format.

    Raises:
        UsageError: it says another format, or none.
    """
    found = content.get("format") if isinstance(content, Mapping) else None
    if found != expected:
        said = f"the format {found!r:.60}" if found is not None else "no format"
        raise UsageError(
            f'{where} has {said}; this version reads "format": "{expected}". '
            "Convert the file, or use the version of derycc that wrote it."
        )
    assert isinstance(content, Mapping)
    return content


def first_fault(error: ValidationError) -> str:
    """What is wrong with a file, first of all, and what to do about it."""
    faults = error.errors(include_url=False)
    fault = faults[0]
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault["loc"])
    if fault["type"] == "missing":
        advice = "is missing. Add it."
    elif fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        advice = "is not part of the format. Correct its name, or remove it."
    else:
        given = repr(fault["input"])
        given = given if len(given) <= 60 else f"{given[:57]}..."
        advice = f"is {given}: {fault['msg'][:1].lower()}{fault['msg'][1:]}. Correct it."
    more = f" ({len(faults) - 1} more like it follow.)" if len(faults) > 1 else ""
    return f"{place.lstrip('.') or 'the content'} {advice}{more}"
