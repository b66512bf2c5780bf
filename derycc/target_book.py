"""The user's own targets: from the options of `targets add` to a file."""

from dataclasses import dataclass, fields, replace
from typing import Any

from targets.errors import UsageError
from targets.registry import find, split_reference
from targets.settings import OPTIONS, read_option
from targets.target_file import TargetFile

DEFAULT_BACKEND = "ort"


@dataclass(frozen=True, slots=True)
class Wishes:
    """The settings of a new target as the user wrote them; None: as in the target it is made from.

    They are written as in a target's text: `0+1` for an affinity, `on` or `off` for spinning.
    """

    backend: str | None = None
    threads: str | None = None
    affinity: str | None = None
    precisions: str | None = None
    spinning: str | None = None
    power_mode: str | None = None
    description: str | None = None


def compose(name: str, wishes: Wishes, source: str | None) -> TargetFile:
    """The file of a new target.

    Args:
        name: Of the new target.
        wishes: Its settings, as far as they were given.
        source: Name or path of the target that says the rest; None: the defaults of the format.

    Raises:
        UsageError: A setting that cannot be, or a source that cannot be used.
    """
    values = _values(wishes)
    if source is None:
        return TargetFile(**{"name": name, "backend": DEFAULT_BACKEND, **values})
    reference, options = split_reference(source)
    if options is not None:
        raise UsageError(
            f"Cannot start from {source!r}: options have names of their own here. Write --from "
            f"{reference} and, e.g., --threads 1."
        )
    base = find(reference).file
    if values:
        # What is said of the old target need not be true of the new one.
        values.setdefault("description", "")
    return replace(base, name=name, **values)


def _values(wishes: Wishes) -> dict[str, Any]:
    given = {item.name: getattr(wishes, item.name) for item in fields(wishes)}
    return {
        name: read_option(name, text) if name in OPTIONS else text
        for name, text in given.items()
        if text is not None
    }
