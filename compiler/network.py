"""Network: the module that an assembly describes. The one that is scored is the one emitted."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import Tensor, nn

from compiler.dissection import INPUT, OUTPUT, Cut
from compiler.donors import Donors
from compiler.precisions import FLOAT, INT8
from compiler.preprocessing import Preprocessing
from compiler.stitching import Stitch, StitchShape
from targets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of one donor, from just after cut `start` to cut `end`.

    Attributes:
        model: the donor.
        start: the cut before it.
        end: the cut behind it.
        int8: the parts of it that are in 8-bit integers, each from a cut to a later one, in order;
            two never touch. What is left is float.
    """

    model: str
    start: str
    end: str
    int8: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse parts that are one, or none."""
        if any(start == end for start, end in self.int8):
            raise UsageError(f"The segment {self} has an int8 part without blocks.")
        if any(left[1] == right[0] for left, right in pairwise(self.int8)):
            raise UsageError(f"The segment {self} has int8 parts that touch. Name them as one.")

    @property
    def pieces(self) -> tuple["Piece", ...]:
        """The segment, split where precision changes, in order."""
        found: list[Piece] = []
        at = self.start
        for start, end in self.int8:
            if start != at:
                found.append(Piece(self.model, at, start, FLOAT))
            found.append(Piece(self.model, start, end, INT8))
            at = end
        if at != self.end:
            found.append(Piece(self.model, at, self.end, FLOAT))
        return tuple(found)

    def __str__(self) -> str:
        parts = ", ".join(f"{start}..{end}" for start, end in self.int8)
        return f"{self.model}[{self.start}..{self.end}{', int8 ' if parts else ''}{parts}]"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a segment that has one precision."""

    model: str
    start: str
    end: str
    precision: str


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a network is made of, in the donors' own names; enough to build it again.

    Attributes:
        input_size: pixels; every segment is cut at this size.
        segments: in order; the first begins at `input`, the last ends at `output`.
    """

    input_size: int
    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        if not self.segments:
            raise UsageError("A network needs at least one segment; this one has none.")
        if self.segments[0].start != INPUT or self.segments[-1].end != OUTPUT:
            raise UsageError(
                f"The network {self} must begin at '{INPUT}' of its first donor and end at "
                f"'{OUTPUT}' of its last."
            )

    @property
    def stitches(self) -> int:
        """Stitching layers: one fewer than segments."""
        return len(self.segments) - 1

    @property
    def donors(self) -> tuple[str, ...]:
        """Donors that lend a segment, each once, in order."""
        return tuple(dict.fromkeys(segment.model for segment in self.segments))

    @property
    def quantized(self) -> bool:
        """Whether any part of it is in 8-bit integers."""
        return any(segment.int8 for segment in self.segments)

    @property
    def int8(self) -> tuple[tuple[int, str, str], ...]:
        """Its int8 parts: number of the segment, start, end."""
        segments = enumerate(self.segments)
        return tuple((index, *part) for index, segment in segments for part in segment.int8)

    def with_int8(self, parts: Sequence[tuple[int, str, str]]) -> "Blueprint":
        """The same network with these parts in int8, and no others."""
        segments = tuple(
            replace(segment, int8=tuple((a, b) for where, a, b in parts if where == index))
            for index, segment in enumerate(self.segments)
        )
        return replace(self, segments=segments)

    @property
    def in_float(self) -> "Blueprint":
        """The same network, all of it in float."""
        return self.with_int8(())

    @staticmethod
    def pure(model: str, input_size: int) -> "Blueprint":
        """A donor left whole."""
        return Blueprint(input_size, (Segment(model, INPUT, OUTPUT),))

    def __str__(self) -> str:
        return f"{self.input_size}px " + " + ".join(map(str, self.segments))


class Network(nn.Module):
    """Segments of donors joined by stitches: normalized (N, 3, S, S) in, logits (N, classes) out.

    The donors' parameters and statistics are copied in: whatever tuning does to a network, the
    donors stay as they were.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        segments: Sequence[nn.Module],
        stitches: Sequence[Stitch],
        preprocessing: Preprocessing,
    ) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.preprocessing = preprocessing
        self.segments = nn.ModuleList(segments)
        self.stitches = nn.ModuleList(stitches)

    def forward(self, x: Tensor) -> Tensor:
        """Run every segment, and the stitch after each but the last."""
        return self.tail(self.segments[0](x), 0)

    def prefix(self, x: Tensor, index: int) -> Tensor:
        """The activation that arrives at stitch `index`."""
        x = self.segments[0](x)
        for i in range(index):
            x = self.segments[i + 1](self.stitches[i](x))
        return x

    def tail(self, x: Tensor, index: int) -> Tensor:
        """From the activation at stitch `index` to the logits."""
        for stitch, segment in zip(self.stitches[index:], self.segments[index + 1 :], strict=True):
            x = segment(stitch(x))
        return x


def build(blueprint: Blueprint, donors: Donors) -> Network:
    """Assemble the module; stitches are untrained until `compiler.tuning` has fitted them.

    A module is float: int8 is a matter of `compiler.mixed`, which exports it.

    Raises:
        UnknownNameError: a donor or a cut is not there.
        UsageError: two neighbours cannot be joined.
    """
    size = blueprint.input_size
    ends = [_cuts(donors, size, segment) for segment in blueprint.segments]
    segments = [
        copy.deepcopy(donors.dissection(segment.model, size).module(*cuts))
        for segment, cuts in zip(blueprint.segments, ends, strict=True)
    ]
    stitches = [Stitch(_joint(blueprint, left[1], right[0])) for left, right in pairwise(ends)]
    preprocessing = donors.preprocessing(blueprint.segments[0].model, size)
    network = Network(blueprint, segments, stitches, preprocessing)
    return network.eval().requires_grad_(False)


def _joint(blueprint: Blueprint, left: Cut, right: Cut) -> StitchShape:
    if len(left.grid) != 2 or len(right.grid) != 2:
        raise UsageError(
            f"The network {blueprint} cannot be joined from {left.name} {left.tensor.shape} to "
            f"{right.name} {right.tensor.shape}: a stitch needs (batch, channels, height, width) "
            "on both sides. Choose other cuts."
        )
    return StitchShape.between(left, right)


def _cuts(donors: Donors, size: int, segment: Segment) -> tuple[Cut, Cut]:
    dissection = donors.dissection(segment.model, size)
    start, end = dissection.cut(segment.start), dissection.cut(segment.end)
    if start.position >= end.position:
        raise UsageError(
            f"The segment {segment} is empty: {segment.end} does not come after {segment.start}."
        )
    return start, end
