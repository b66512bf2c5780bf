"""Strict JSON: what Python's reader lets pass and other programs do not is refused.

A key that comes twice and whole numbers of thousands of digits are errors. NaN and Infinity are
read, so that whoever checks the content can say where they stand.
"""

from __future__ import annotations

from typing import Any

from compiler.formats import parsed
from targets.errors import UsageError

LONGEST_NUMBER = 400
"""Digits of a whole number; no float has more than 309."""


class _Fault(ValueError):
    """What is wrong, found while the text is read."""


def parse(text: str, where: str, expected: str) -> Any:
    """What the text says.

    Args:
        text: of the file.
        where: what messages call the file.
        expected: its format, such as `derycc.problem/1`.

    Raises:
        UsageError: it is no strict JSON.
    """
    try:
        return parsed(text, where, expected, object_pairs_hook=_object, parse_int=_integer)
    except _Fault as fault:
        raise UsageError(f"{where} is not usable: {fault}") from fault


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise _Fault(f"an object has the key '{repeated:.60}' twice. Give every key once.")
    return made


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise _Fault(f"a whole number has {len(digits)} digits. Give one that a float can hold.")
    return int(digits)
