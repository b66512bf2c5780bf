"""Equivalence sets: a zoo cut into blocks, and the blocks grouped by what they compute.

The file format is `derycc.partition/1`: the fields of `Partition`, its sets and their members.
"""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from targets.errors import UsageError

FORMAT = "derycc.partition/1"


@dataclass(frozen=True, slots=True)
class Member:
    """One block of a partition: a run of a donor's nodes.

    Attributes:
        model: the donor.
        stage: how many of the donor's blocks come before it.
        start: how many of the donor's nodes come before it.
        nodes: how many it has.
        first: name of its first node.
        last: name of its last node.
        params: parameters of its nodes.
        similarity: to the anchor of its set: input's plus output's; 2 for the anchor.
    """

    model: str
    stage: int
    start: int
    nodes: int
    first: str
    last: str
    params: int
    similarity: float

    def __str__(self) -> str:
        return f"{self.model} {self.first}..{self.last}"


@dataclass(frozen=True, slots=True)
class EquivalenceSet:
    """Blocks that compute much the same, around the one that is most like all of them.

    Attributes:
        anchor: the medoid.
        members: all blocks of the set, the anchor too, by donor and stage.
    """

    anchor: Member
    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        """Refuse a set without its anchor."""
        if self.anchor not in self.members:
            raise UsageError(
                f"The anchor {self.anchor} is no member of its own set. Make the partition again "
                "with `derycc partition`."
            )

    @property
    def donors(self) -> tuple[str, ...]:
        """Donors that have a block in the set, each once."""
        return tuple(dict.fromkeys(member.model for member in self.members))


@dataclass(frozen=True, slots=True)
class Partition:
    """All donors of a zoo cut into K blocks each, and all blocks in K equivalence sets.

    Attributes:
        k: blocks of every donor, and sets.
        sets: the sets, by the depth of their anchors.
        objective: sum of the members' similarities to their anchors.
        bound: no partition under these caps has a higher objective; None where nothing is known.
        proven: the objective is the highest possible, to about 1e-9 a block.
        measure: the similarity measure of the table it was made from.
        epsilon: how much more than an even share of nodes a block may have; None: any number.
        param_epsilon: the same of parameters.
        seed: of the search.
        starts: of the search.
        solver: what found, and proved, the answer.
    """

    k: int
    sets: tuple[EquivalenceSet, ...]
    objective: float
    bound: float | None
    proven: bool
    measure: str
    epsilon: float | None
    param_epsilon: float | None
    seed: int
    starts: int
    solver: str

    def __post_init__(self) -> None:
        """Refuse what is no partition of every donor into K blocks."""
        if len(self.sets) != self.k:
            raise UsageError(
                f"A partition into {self.k} blocks has {self.k} sets; there are {len(self.sets)}. "
                "Make it again with `derycc partition`."
            )
        for model in self.donors:
            _check_blocks(model, self.blocks(model), self.k)

    @property
    def has_a_stage_for_every_set(self) -> bool:
        """Whether every set can have a stage of its own, as DeRy mode needs it."""
        table = np.zeros((self.k, self.k), dtype=np.int8)
        for number, group in enumerate(self.sets):
            table[number, [member.stage for member in group.members]] = 1
        return bool((maximum_bipartite_matching(csr_array(table)) >= 0).all())

    @property
    def donors(self) -> tuple[str, ...]:
        """The donors, by name."""
        return tuple(sorted({member.model for group in self.sets for member in group.members}))

    @property
    def gap(self) -> float | None:
        """How far the bound is above the objective, as a share of it; None where unknown."""
        if self.bound is None or not self.objective:
            return None if self.bound is None else self.bound - self.objective
        return (self.bound - self.objective) / abs(self.objective)

    def blocks(self, model: str) -> tuple[Member, ...]:
        """A donor's blocks, from its first stage to its last; empty for one that is not there."""
        own = [member for group in self.sets for member in group.members if member.model == model]
        return tuple(sorted(own, key=lambda member: member.stage))

    def set_of(self, member: Member) -> int:
        """The number of the set that a block is in."""
        return next(i for i, group in enumerate(self.sets) if member in group.members)

    def to_json(self) -> str:
        """The text of a partition file; `from_json` reads an equal partition from it."""
        content = {"format": FORMAT, **asdict(self)}
        return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "The partition") -> "Partition":
        """Read the text of a partition file; `where` begins every error's message.

        Raises:
            UsageError: it is no partition, or of another format.
        """
        try:
            content = json.loads(text)
            _check_format(content, where)
            content.pop("format")
            return _adapter().validate_json(json.dumps(content), strict=True)
        except json.JSONDecodeError as error:
            raise UsageError(f"{where} is no JSON: {error}. {_AGAIN}") from error
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"])) or "the file"
            raise UsageError(f"{where} is damaged: {place}: {fault['msg']}. {_AGAIN}") from error

    @classmethod
    def load(cls, path: Path) -> "Partition":
        """Read a partition file.

        Raises:
            UsageError: it cannot be read, or is no partition.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"Cannot read the partition {path}: {error}. {_AGAIN}") from error
        return cls.from_json(text, f"The partition {path}")


_AGAIN = "Give a file that `derycc partition` has written."


@cache
def _adapter() -> TypeAdapter[Partition]:
    return TypeAdapter(Partition)


def _check_format(content: Any, where: str) -> None:
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise UsageError(f"{where} has the format {found!r}, not {FORMAT!r}. {_AGAIN}")


def _check_blocks(model: str, blocks: tuple[Member, ...], k: int) -> None:
    start = 0
    for stage, block in enumerate(blocks):
        if (block.stage, block.start) != (stage, start) or block.nodes < 1:
            break
        start += block.nodes
    else:
        if len(blocks) == k:
            return
    raise UsageError(
        f"The blocks of {model} do not follow each other in stages 0 to {k - 1}. {_AGAIN}"
    )
