"""Recipe plan: every shape of a recipe's network, decided before a module is built.

All that a recipe leaves open follows from shapes, by fixed rules:

- A DeRy stitch hands on the grid that arrives, divided by its stride. Left out, the stride is the
  arriving grid over the one that the next segment has in its donor, rounded, at least 1; between
  tokens it is 1. The donor is cut at the input size that gives it this grid; where there is no such
  size, at the nearest, and the stitch interpolates.
- A linear stitch hands on the grid that the next segment has in its donor.
- Class and register tokens go from tokens to tokens of as many. Where a DeRy stitch makes tokens
  without them, blocks run on the grid's tokens alone; before a donor's own head, and behind linear
  stitches, they are learnt constants of the stitch.
"""

from dataclasses import dataclass
from functools import cached_property

from backends.model import TensorSpec
from compiler.boundary import Boundary
from compiler.dery_stitch import DeryShape, HeadShape, StemShape
from compiler.dissection import INPUT, OUTPUT, Cut, Dissection
from compiler.donor_grids import DonorGrids, start_of
from compiler.donors import Donors
from compiler.linear_stitch import LinearShape
from compiler.network import Blueprint, Segment
from compiler.recipe import Recipe, RecipeSegment, RecipeStitch
from compiler.segment_runs import GraphRun, Run, TokenRun
from targets.errors import UsageError

JointShape = DeryShape | LinearShape


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a recipe's network.

    Attributes:
        name: "input", "stem", "segment 1", "stitch 1", "head".
        what: what it is, in the recipe's words.
        tensor: what goes out, batch 1.
        params: parameters inside.
        macs: multiply-accumulates of convolutions and linear layers, batch 1.
        new: whether it is none of a donor's: trained even where donors are frozen.
    """

    name: str
    what: str
    tensor: TensorSpec
    params: int = 0
    macs: int = 0
    new: bool = False


@dataclass(frozen=True)  # without slots: the parts are counted once, and kept
class RecipePlan:
    """A recipe's network in shapes.

    Attributes:
        recipe: what was asked for.
        stem: the new stem; None: the donor's, inside the first run.
        runs: the donors' segments.
        stitches: what joins them.
        head: the new head; None: the donor's, inside the last run.
    """

    recipe: Recipe
    stem: StemShape | None
    runs: tuple[Run, ...]
    stitches: tuple[JointShape, ...]
    head: HeadShape | None

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Everything from the picture to the logits, in order."""
        size, classes = self.recipe.input_size, self.recipe.classes
        parts = [Part(INPUT, "", TensorSpec(INPUT, (1, 3, size, size)))]
        if self.stem:
            parts.append(_new("stem", self.stem, self.stem.target.spec("stem")))
        for index, run in enumerate(self.runs, 1):
            if index > 1:
                shape = self.stitches[index - 2]
                name = f"stitch {index - 1}"
                parts.append(_new(name, shape, shape.target.spec(name)))
            tensor = run.end_tensor(f"segment {index}")
            what = f"{run.segment} at {run.input_size} px"
            parts.append(Part(f"segment {index}", what, tensor, run.params, run.macs))
        if self.head:
            parts.append(_new("head", self.head, TensorSpec("head", (1, classes), layout="NC")))
        return tuple(parts)

    @property
    def params(self) -> int:
        """Parameters of the network."""
        return sum(part.params for part in self.parts)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of its convolutions and linear layers, batch 1."""
        return sum(part.macs for part in self.parts)

    @property
    def trainable_frozen(self) -> int:
        """Parameters that are trained where the donors' segments are frozen."""
        return sum(part.params for part in self.parts if part.new)

    @property
    def untrained(self) -> tuple[str, ...]:
        """Parts that training alone can make useful: nothing fits them in closed form."""
        found = ["the stem"] if self.stem else []
        fitted = self.fitted
        found += [f"stitch {i}" for i in range(1, len(self.stitches) + 1) if i > fitted]
        return (*found, "the head") if self.head else tuple(found)

    @property
    def fitted(self) -> int:
        """Stitches, from the first, that least squares can fit.

        They are linear ones before which nothing is untrained.
        """
        if self.stem:
            return 0
        linear = [isinstance(shape, LinearShape) for shape in self.stitches]
        return linear.index(False) if False in linear else len(linear)

    @property
    def blueprint(self) -> Blueprint | None:
        """The same network as builds assemble it; None where it is none of that kind."""
        maps = all(s.source.is_map and s.target.is_map for s in self.stitches)
        size = self.recipe.input_size
        same = all(run.input_size == size for run in self.runs)
        if self.head or self.stem or self.fitted < len(self.stitches) or not (maps and same):
            return None
        segments = [Segment(run.segment.model, *run.cut_names) for run in self.runs]
        return Blueprint(size, tuple(segments))


def plan_recipe(recipe: Recipe, donors: Donors) -> RecipePlan:
    """Decide every shape of a recipe's network.

    Args:
        recipe: its models are names of `donors`.
        donors: where the segments come from; shapes are enough.

    Raises:
        UnknownNameError: a model or node that is not there.
        UsageError: segments that lead backwards, or that nothing can join.
        ZooError: a donor that cannot be cut, or does not take its input.
    """
    return _Planner(recipe, donors).plan()


class _Planner:
    def __init__(self, recipe: Recipe, donors: Donors) -> None:
        self._recipe = recipe
        self._donors = donors
        self._grids = DonorGrids(donors, recipe.input_size)
        self._last = len(recipe.segments) - 1

    def plan(self) -> RecipePlan:
        for index in range(len(self._recipe.segments)):
            self._own(index)  # every name is checked before the first grid is looked for
        stem, run = self._first()
        runs, stitches = [run], []
        for index, joint in enumerate(self._recipe.joints, 1):
            shape, run = self._joined(index, joint, run.target)
            stitches.append(shape)
            runs.append(run)
        head = None
        if self._recipe.head == "dery":
            head = HeadShape(run.target, self._recipe.classes)
        return RecipePlan(self._recipe, stem, tuple(runs), tuple(stitches), head)

    def _own(self, index: int) -> GraphRun:
        """A segment where its donor sees it at the recipe's input size."""
        return self._cut(index, self._grids.own(self._recipe.segments[index].model))

    def _first(self) -> tuple[StemShape | None, Run]:
        size = self._recipe.input_size
        own = self._own(0)
        if self._recipe.stem == "donor":
            if own.input_size != size:
                raise UsageError(
                    f"{own.segment.model} takes pictures of {own.input_size} px and refuses "
                    f"{size}, the recipe's input. With its own stem, use "
                    f'"input": [3, {own.input_size}, {own.input_size}].'
                )
            return None, own
        side = StemShape.side_for(size)
        run = self._fed(0, Boundary("NCHW", own.source.channels, side), side)
        return StemShape(size, run.source), run

    def _joined(self, index: int, joint: RecipeStitch, flow: Boundary) -> tuple[JointShape, Run]:
        own = self._own(index)
        if joint.kind == "linear":
            linear = LinearShape(flow, own.source)
            self._check_stride(index, joint, linear.stitch.stride)
            return linear, own
        stride = joint.stride or _ratio(flow, own.source)
        side = max(1, flow.side // stride)
        run = self._fed(index, flow, side)
        return DeryShape(flow, run.source, stride), run

    def _fed(self, index: int, flow: Boundary, side: int) -> Run:
        """A segment for a grid of `side` positions that comes as DeRy's layers hand it on."""
        own = self._own(index)
        model, first = own.segment.model, own.segment.first
        has_tokens = (flow.layout, flow.prefix) == (own.source.layout, own.source.prefix)
        if own.source.prefix and not has_tokens and not self._to_output(index):
            grid = own.source.without_prefix().of_side(side)
            return TokenRun(own.segment, own, self._donors.module(model), grid)
        return self._cut(index, self._grids.at(model, first, side))

    def _cut(self, index: int, dissection: Dissection) -> GraphRun:
        segment = self._recipe.segments[index]
        from_input = index == 0 and self._recipe.stem == "donor"
        start, end = _ends(segment, dissection, from_input, self._to_output(index))
        if self._to_output(index):
            self._check_classes(segment, end)
        return GraphRun(segment, dissection, start, end)

    def _to_output(self, index: int) -> bool:
        return index == self._last and self._recipe.head == "donor"

    def _check_classes(self, segment: RecipeSegment, output: Cut) -> None:
        classes = output.tensor.shape[-1]
        if classes != self._recipe.classes:
            raise UsageError(
                f"The recipe has {self._recipe.classes} classes and the head of {segment.model}, "
                f'its donor, {classes}. Use {classes} classes, or "head": "dery".'
            )

    def _check_stride(self, index: int, joint: RecipeStitch, stride: int) -> None:
        if joint.stride not in (None, stride):
            raise UsageError(
                f"Stitch {index} is linear, and has stride {stride} by the grids that it joins; "
                f"stride {joint.stride} was asked for. Leave it out."
            )


def _ends(
    segment: RecipeSegment, dissection: Dissection, from_input: bool, to_output: bool
) -> tuple[Cut, Cut]:
    """The cuts around a segment; its names are checked."""
    nodes = dissection.boundaries[1:]
    if from_input and segment.first not in (INPUT, nodes[0].name):
        raise UsageError(
            f'With "stem": "donor" the first segment begins at the input of {segment.model}: its '
            f"first node is '{nodes[0].name}', not '{segment.first}'. Begin there, or use "
            '"stem": "dery".'
        )
    if to_output and segment.last not in (OUTPUT, nodes[-1].name):
        raise UsageError(
            f'With "head": "donor" the last segment runs to the output of {segment.model}: its '
            f"last node is '{nodes[-1].name}', not '{segment.last}'. End there, or use "
            '"head": "dery".'
        )
    start = dissection.cuts[0] if from_input else start_of(dissection, segment.first)
    end = dissection.cuts[-1] if to_output else dissection.node(segment.last).end
    if start.position >= end.position:
        raise UsageError(
            f"The segment {segment} leads backwards: '{segment.last}' comes before "
            f"'{segment.first}' in {segment.model}. Exchange them."
        )
    return start, end


def _ratio(flow: Boundary, own: Boundary) -> int:
    """The stride that brings a grid nearest to the one a segment has in its donor."""
    if not flow.is_map and not own.is_map:
        return 1
    return max(1, (2 * flow.side + own.side) // (2 * own.side))


def _new(name: str, shape: StemShape | JointShape | HeadShape, tensor: TensorSpec) -> Part:
    return Part(name, str(shape), tensor, shape.params, shape.macs, new=True)
