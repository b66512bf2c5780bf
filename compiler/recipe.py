"""Recipe: a network written down by hand, or the answer of a build, in the models' own names.

The file format is `derycc.recipe/1`, JSON::

    {"format": "derycc.recipe/1", "input": [3, 224, 224], "classes": 1000,
     "stem": "dery",
     "segments": [{"model": "regnety_160", "first": "s1.b1", "last": "s1.b2"}, ...],
     "stitches": [{"kind": "dery", "stride": 1}, ...],
     "head": "dery"}

A segment is a run of a donor's nodes, both ends included. `stem` and `head` are DeRy's new layers
("dery", the default) or the donor's own ("donor"). A stitch is DeRy's adapter ("dery") or the
1x1 convolution that builds use ("linear"); what is left out of it follows from the shapes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from compiler.formats import checked_content, first_fault, read_text
from targets.errors import UnknownNameError, UsageError

FORMAT = "derycc.recipe/1"
FOLDER = Path(__file__).parent / "recipes"
"""Where the recipes that come with derycc are."""

End = Literal["dery", "donor"]
Kind = Literal["dery", "linear"]

_STRICT = ConfigDict(extra="forbid", strict=True)
_SMALLEST, _LARGEST = 32, 2048


@dataclass(frozen=True, slots=True)
class RecipeSegment:
    """A run of a donor's nodes.

    Attributes:
        model: a name of timm, with or without the tag of its weights, or of a donor of the zoo.
        first: the node it begins with; "output" where nothing but the donor's head is taken.
        last: the node it ends with, included; "output" means the donor's head, too.
    """

    __pydantic_config__ = _STRICT

    model: str
    first: str
    last: str

    def __str__(self) -> str:
        return f"{self.model}[{self.first}..{self.last}]"


@dataclass(frozen=True, slots=True)
class RecipeStitch:
    """What joins two segments.

    Attributes:
        kind: "dery": the next segment takes the grid that arrives; "linear": it takes the grid it
            has in its donor.
        stride: of the adapter's convolution; None: chosen from the shapes.
    """

    __pydantic_config__ = _STRICT

    kind: Kind = "dery"
    stride: int | None = None

    def __post_init__(self) -> None:
        """Refuse a stride that is none."""
        if self.stride is not None and self.stride < 1:
            raise UsageError(f"A stitch has the stride {self.stride}. Use 1 or more.")

    def __str__(self) -> str:
        return self.kind if self.stride is None else f"{self.kind}/{self.stride}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network in the models' own names; `from_json` and `to_json` are inverse.

    Attributes:
        input: channels, height and width of the picture: (3, S, S).
        classes: logits.
        segments: in order.
        stem: "dery": a new stem; "donor": the first segment begins at its donor's input.
        head: "dery": a new head; "donor": the last segment runs to its donor's output.
        stitches: one fewer than segments; None: all chosen, linear ones where stem and head are
            the donors' (such a network needs no training), else those of DeRy.
        note: what it is; changes nothing.
    """

    __pydantic_config__ = _STRICT

    input: tuple[int, int, int]
    classes: int
    segments: tuple[RecipeSegment, ...]
    stem: End = "dery"
    head: End = "dery"
    stitches: tuple[RecipeStitch, ...] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a recipe that describes no network."""
        channels, height, width = self.input
        if channels != 3 or height != width or not _SMALLEST <= height <= _LARGEST:
            raise UsageError(
                f"The input is {list(self.input)}. Use [3, S, S] with S from {_SMALLEST} to "
                f"{_LARGEST} pixels."
            )
        if self.classes < 1:
            raise UsageError(f"There are {self.classes} classes. Use 1 or more.")
        if not self.segments:
            raise UsageError("There are no segments. Give at least one.")
        given = self.stitches
        if given is not None and len(given) != len(self.segments) - 1:
            raise UsageError(
                f"There are {len(given)} stitches and {len(self.segments)} segments. Give one "
                "stitch fewer than segments, or leave them out."
            )

    @property
    def input_size(self) -> int:
        """Pixels a side."""
        return self.input[1]

    @property
    def donors(self) -> tuple[str, ...]:
        """Models that lend a segment, each once, in order."""
        return tuple(dict.fromkeys(segment.model for segment in self.segments))

    @property
    def joints(self) -> tuple[RecipeStitch, ...]:
        """The stitches, also where they are left out."""
        if self.stitches is not None:
            return self.stitches
        kind: Kind = "linear" if (self.stem, self.head) == ("donor", "donor") else "dery"
        return (RecipeStitch(kind),) * (len(self.segments) - 1)

    def renamed(self, names: Mapping[str, str]) -> "Recipe":
        """The same with other names of its models; those that `names` lacks stay."""
        segments = (replace(s, model=names.get(s.model, s.model)) for s in self.segments)
        return replace(self, segments=tuple(segments))

    def content(self) -> dict[str, Any]:
        """What `to_json` writes."""
        stitches = [
            {"kind": stitch.kind, **({} if stitch.stride is None else {"stride": stitch.stride})}
            for stitch in self.stitches or ()
        ]
        return {
            "format": FORMAT,
            **({"note": self.note} if self.note else {}),
            "input": list(self.input),
            "classes": self.classes,
            "stem": self.stem,
            "segments": [
                {"model": segment.model, "first": segment.first, "last": segment.last}
                for segment in self.segments
            ],
            **({} if self.stitches is None else {"stitches": stitches}),
            "head": self.head,
        }

    def to_json(self) -> str:
        """The text of a recipe file."""
        return json.dumps(self.content(), indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str, where: str = "The recipe") -> "Recipe":
        """Read the text of a recipe file, or of the `assembly.json` of a build.

        Args:
            text: JSON.
            where: what messages call it.

        Raises:
            UsageError: it is no recipe, or describes no network.
        """
        _check_no_manifest(text, where)
        content = checked_content(_inner(text), where, FORMAT)
        rest = {name: value for name, value in content.items() if name != "format"}
        try:
            return _adapter().validate_json(json.dumps(rest))
        except ValidationError as error:
            raise UsageError(f"{where} is not usable: {first_fault(error)}") from error
        except UsageError as error:
            raise UsageError(f"{where} is not usable: {error}") from error

    def __str__(self) -> str:
        """One line that says all of it; two recipes of one line are the same network."""
        parts = [str(self.segments[0])]
        for stitch, segment in zip(self.joints, self.segments[1:], strict=True):
            parts.append(f">{stitch}> {segment}")
        middle = " ".join(parts)
        return f"{self.input_size}px {self.stem} + {middle} + {self.head} {self.classes}"


def shipped() -> dict[str, Path]:
    """The recipes that come with derycc: file by name, sorted."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.json"))}


def read_recipe(what: str) -> Recipe:
    """A recipe by the path of its file, or by the name of one that comes with derycc.

    Raises:
        UnknownNameError: no such file, and no such name.
        UsageError: the file cannot be used.
    """
    known = shipped()
    path = Path(what)
    if what in known and not path.is_file():
        path = known[what]
    elif not path.exists() and path.name == what and path.suffix != ".json":
        raise UnknownNameError("recipe", what, known)
    text = read_text(path, "recipe file", FORMAT)
    return Recipe.from_json(text, f"The recipe file '{path}'")


@cache
def _adapter() -> TypeAdapter[Recipe]:
    return TypeAdapter(Recipe)


def _check_no_manifest(text: str, where: str) -> None:
    """Refuse a build's manifest, which lies beside what is meant."""
    if '"derycc.manifest/' in text[:1000]:
        raise UsageError(
            f"{where} is the manifest of a build. Give the derycc.lock that lies beside it, or the "
            "assembly.json."
        )


def _inner(text: str) -> str:
    """The recipe inside an `assembly.json`; anything else as it is."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text
    inner = content.get("recipe") if isinstance(content, dict) else None
    return json.dumps(inner) if isinstance(inner, dict) else text
