"""What the solver is given: a graph of arcs, budgets along a path, and counts.

A network is a simple path from `source` to `sink`. Every arc is a block or a stitch; it adds its
score and its costs to the path. The file format is `derycc.problem/1`::

    {"format": "derycc.problem/1", "sense": "maximize", "source": "in", "sink": "out",
     "arcs": [{"id": "a/0-3", "from": "in", "to": "a@3", "score": 12.5,
               "costs": {"latency_us": 910.25}}],
     "limits": {"latency_us": 10000},
     "counts": [{"arcs": ["s1", "s2"], "at_most": 3}]}
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, FailFast, Field, TypeAdapter, ValidationError, with_config

# pydantic refuses typing.TypedDict below Python 3.12.
from typing_extensions import TypedDict

from compiler.formats import check_format, first_fault, half_character, read_text
from compiler.strict_json import parse
from targets.errors import UsageError

FORMAT = "derycc.problem/1"

MOST_BYTES = 128 * 2**20
"""The largest file that is read: some 700,000 arcs, and about a gigabyte of memory."""

Sense = Literal["maximize", "minimize"]
Amounts = tuple[tuple[str, float], ...]
"""Numbers by resource name, such as `(("latency_us", 910.25), ("memory_bytes", 1.2e6))`."""


@dataclass(frozen=True, slots=True)
class Arc:
    """One block or stitch: the step from boundary `tail` to boundary `head`.

    Scores and costs add along a path. A resource that `costs` does not name costs nothing here.
    """

    id: str
    tail: str
    head: str
    score: float
    costs: Amounts = ()

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be added up."""
        if not math.isfinite(self.score):
            raise UsageError(
                f"Arc '{self.id}' has the score {self.score}. Give a finite number, "
                "or leave the arc out if it must not be used."
            )
        _check_amounts(f"Arc '{self.id}'", "cost", self.costs)

    def cost(self, resource: str) -> float:
        """What the arc costs of `resource`; 0 where it names none."""
        return next((amount for name, amount in self.costs if name == resource), 0.0)


@dataclass(frozen=True, slots=True)
class CountLimit:
    """How many of these arcs a path may, or must, use."""

    arcs: tuple[str, ...]
    at_most: int | None = None
    at_least: int | None = None

    def __post_init__(self) -> None:
        """Refuse a count that bounds nothing or counts an arc twice."""
        if self.at_most is None and self.at_least is None:
            raise UsageError(
                f"The count over {_some(self.arcs)} has no bound. Give it at_most or at_least."
            )
        for name, bound in (("at_most", self.at_most), ("at_least", self.at_least)):
            if bound is not None and bound < 0:
                raise UsageError(
                    f"The count over {_some(self.arcs)} has {name} {bound}. "
                    "Give a whole number that is not negative."
                )
        if repeated := _repeated(self.arcs):
            raise UsageError(
                f"The count over {_some(self.arcs)} names '{repeated}' twice. Name each arc once."
            )


@dataclass(frozen=True, slots=True)
class Problem:
    """Which path from `source` to `sink` has the best score within the limits and counts.

    Attributes:
        sense: Whether a higher score is better ("maximize") or a lower one ("minimize").
        source: The boundary where every path begins.
        sink: The boundary where every path ends.
        arcs: Blocks and stitches; parallel arcs and cycles are allowed.
        limits: The most a path may cost of each resource; a resource without a limit is only
            reported.
        counts: How many arcs of a set a path may or must use.
    """

    sense: Sense
    source: str
    sink: str
    arcs: tuple[Arc, ...]
    limits: Amounts = ()
    counts: tuple[CountLimit, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no path could be read from."""
        if self.sense not in ("maximize", "minimize"):
            raise UsageError(f"The sense is '{self.sense}'. Give maximize or minimize.")
        _check_names(self)
        if self.source == self.sink:
            raise UsageError(
                f"Source and sink are both '{self.source}'. Give two different boundaries: "
                "a network leads from one to the other."
            )
        if repeated := _repeated(arc.id for arc in self.arcs):
            raise UsageError(f"Two arcs have the id '{repeated}'. Give every arc its own id.")
        _check_amounts("The problem", "limit", self.limits)
        known = {arc.id for arc in self.arcs}
        for index, count in enumerate(self.counts):
            if unknown := sorted(set(count.arcs) - known):
                raise UsageError(
                    f"counts[{index}] names {_some(unknown)}, but no arc has such an id. "
                    "Correct the id, or add the arc."
                )

    @property
    def resources(self) -> tuple[str, ...]:
        """Every resource that an arc costs or a limit bounds, sorted."""
        names = {name for arc in self.arcs for name, _ in arc.costs}
        return tuple(sorted(names | {name for name, _ in self.limits}))

    @classmethod
    def load(cls, path: str | Path) -> Problem:
        """Read a problem file; anything wrong with it is a UsageError that names the file."""
        text = read_text(Path(path), "problem file", FORMAT, most_bytes=MOST_BYTES)
        return cls.from_json(text, where=f"The problem file '{path}'")

    @classmethod
    def from_json(cls, text: str, *, where: str = "The problem") -> Problem:
        """Read the text of a problem file; `where` begins every error's message."""
        content = parse(text, where, FORMAT)
        check_format(content, where, FORMAT)
        try:
            return _from_file(_adapter().validate_python(content, strict=True))
        except ValidationError as error:
            raise UsageError(f"{where} is not usable: {first_fault(error)}") from error
        except UsageError as error:
            raise UsageError(f"{where} is not usable: {error}") from error

    def to_json(self) -> str:
        """The text of a problem file; `from_json` reads an equal problem from it."""
        content = {
            "format": FORMAT,
            "sense": self.sense,
            "source": self.source,
            "sink": self.sink,
            "arcs": [_arc_to_file(arc) for arc in self.arcs],
            "limits": dict(self.limits),
            "counts": [_count_to_file(count) for count in self.counts],
        }
        return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _check_amounts(owner: str, kind: str, amounts: Amounts) -> None:
    if len(amounts) > 1 and (repeated := _repeated(name for name, _ in amounts)):
        raise UsageError(f"{owner} has two {kind}s of '{repeated}'. Give one.")
    for name, amount in amounts:
        if not math.isfinite(amount) or amount < 0:
            raise UsageError(
                f"{owner} has the {kind} {amount} of '{name}'. "
                "Give a finite number that is not negative."
            )


def _check_names(problem: Problem) -> None:
    """Refuse names that cannot be written: answers and messages tell them."""
    names = [problem.source, problem.sink, *(name for name, _ in problem.limits)]
    for arc in problem.arcs:
        names += (arc.id, arc.tail, arc.head, *(name for name, _ in arc.costs))
    if half_character("".join(names)) is None:
        return
    name, half = next((name, half) for name in names if (half := half_character(name)))
    raise UsageError(
        f"The name {name!a} has {half}, which is half a character: it cannot be written. "
        "Give arcs, boundaries and resources names of whole characters."
    )


def _repeated(names: Iterable[str]) -> str | None:
    listed = list(names)
    if len(set(listed)) == len(listed):
        return None
    return next(name for name, times in Counter(listed).items() if times > 1)


def _some(names: Iterable[str]) -> str:
    listed = [f"'{name}'" for name in names]
    shown = ", ".join(listed[:3]) or "no arcs"
    return f"{shown} and {len(listed) - 3} more" if len(listed) > 3 else shown


# The shape of the file.

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Amount = Annotated[float, Field(allow_inf_nan=False, ge=0)]
_Times = Annotated[int, Field(ge=0)]


@with_config(ConfigDict(extra="forbid"))
class _ArcFile(TypedDict):
    id: str
    tail: Annotated[str, Field(alias="from")]
    head: Annotated[str, Field(alias="to")]
    score: _Number
    costs: NotRequired[dict[str, _Amount]]


@with_config(ConfigDict(extra="forbid"))
class _CountFile(TypedDict):
    arcs: list[str]
    at_most: NotRequired[_Times | None]
    at_least: NotRequired[_Times | None]


@with_config(ConfigDict(extra="forbid"))
class _ProblemFile(TypedDict):
    format: str
    sense: Sense
    source: str
    sink: str
    arcs: Annotated[list[_ArcFile], FailFast()]
    limits: NotRequired[dict[str, _Amount]]
    counts: NotRequired[Annotated[list[_CountFile], FailFast()]]


@cache
def _adapter() -> TypeAdapter[_ProblemFile]:
    return TypeAdapter(_ProblemFile)


def _from_file(content: _ProblemFile) -> Problem:
    return Problem(
        sense=content["sense"],
        source=content["source"],
        sink=content["sink"],
        arcs=tuple(_arc_from_file(arc) for arc in content["arcs"]),
        limits=tuple(content.get("limits", {}).items()),
        counts=tuple(
            CountLimit(tuple(count["arcs"]), count.get("at_most"), count.get("at_least"))
            for count in content.get("counts", [])
        ),
    )


def _arc_from_file(arc: _ArcFile) -> Arc:
    costs = tuple(arc.get("costs", {}).items())
    return Arc(arc["id"], arc["tail"], arc["head"], arc["score"], costs)


def _arc_to_file(arc: Arc) -> dict[str, Any]:
    return {
        "id": arc.id,
        "from": arc.tail,
        "to": arc.head,
        "score": arc.score,
        "costs": dict(arc.costs),
    }


def _count_to_file(count: CountLimit) -> dict[str, Any]:
    bounds = {"at_most": count.at_most, "at_least": count.at_least}
    kept = {name: bound for name, bound in bounds.items() if bound is not None}
    return {"arcs": list(count.arcs), **kept}
