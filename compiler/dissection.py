"""Dissection: where a network can be cut, and the blocks between its cuts.

A *cut* is a position where exactly one activation is live: everything after it depends on the
input only through that tensor (design, section 3). Cuts are thinned to the ends of the modules
that repeat (residual unit, inverted residual, transformer block): the field's *nodes*.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from torch import fx, nn

from backends.model import TensorSpec
from compiler.activations import most_alive
from compiler.cut import Cut, prefix_tokens, stride_of, tensor_spec
from compiler.extraction import extract
from compiler.graph import aten_graph
from compiler.liveness import Liveness
from compiler.macs import node_macs
from compiler.units import first_positions, module_stack, unit_ends
from targets.errors import UnknownNameError, UsageError, ZooError

__all__ = ["INPUT", "OUTPUT", "STEM", "Block", "Cut", "Dissection", "Node", "dissect", "find_cuts"]

_USUAL_SIZE = 224

INPUT, STEM, OUTPUT = "input", "stem", "output"


@dataclass(frozen=True, slots=True)
class Block:
    """A contiguous run of a donor between two cuts: a trainable module of its own.

    Attributes:
        model: the donor's name.
        size: the donor's input size in pixels; the block holds for it alone.
        start: the cut it begins at (`input` for the first).
        end: the cut it ends at (`output` for the last).
        params: parameters inside.
        macs: multiply-accumulates of its convolutions and linear layers, batch 1.
    """

    model: str
    size: int
    start: Cut
    end: Cut
    params: int
    macs: int

    @property
    def name(self) -> str:
        """`MODEL@SIZE/START..END`, unique in a zoo."""
        return f"{self.model}@{self.size}/{self.start.name}..{self.end.name}"


@dataclass(frozen=True, slots=True)
class Node:
    """One repeated module of a donor: the field's node.

    Attributes:
        name: the module's name in the donor.
        start: the cut before it: the end of the node before, or the donor's stem.
        end: the cut behind it.
        params: parameters between the two.
        macs: multiply-accumulates of convolutions and linear layers between the two, batch 1.
    """

    name: str
    start: Cut
    end: Cut
    params: int
    macs: int


class Dissection:
    """One donor at one input size, cut at the ends of its repeated modules."""

    def __init__(
        self, name: str, graph: fx.GraphModule, input_size: int, prefix: int | None = None
    ) -> None:
        """Find the cuts.

        Args:
            name: the donor's name in messages and block names.
            graph: from `compiler.graph.aten_graph`.
            input_size: pixels a side.
            prefix: class and register tokens, where the donor says how many it has.
        """
        self.name = name
        self.input_size = input_size
        self._graph = graph
        self._prefix = prefix
        self._liveness = Liveness(graph)
        self._nodes = self._liveness.nodes
        self._legal = self._liveness.legal
        self.cuts = self._find_cuts()
        if len(self.cuts) < 3:
            raise ZooError(
                f"{name} has no position where a single activation is live, so it cannot lend "
                "blocks. Leave this donor out."
            )
        self.stem = self._find_stem()

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks between neighbouring cuts, in order."""
        return tuple(self.block(a, b) for a, b in zip(self.cuts, self.cuts[1:], strict=False))

    @property
    def boundaries(self) -> tuple[Cut, ...]:
        """The cut before the first node, and the one behind every node."""
        return (self.stem, *self.cuts[1:-1])

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The donor's repeated modules, in order; its stem and its head are none."""
        found = []
        for start, end in pairwise(self.boundaries):
            block = self.block(start, end)
            found.append(Node(end.name, start, end, block.params, block.macs))
        return tuple(found)

    def node(self, name: str) -> Node:
        """The node of this name; raises UnknownNameError where there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise UnknownNameError(f"node of {self.name}", name, [node.name for node in self.nodes])

    def every_cut(self) -> tuple[Cut, ...]:
        """Every position where one activation alone crosses, named by the module it ends."""
        thinned = {cut.position: cut for cut in self.boundaries}
        taken = {INPUT, STEM, OUTPUT, *(cut.name for cut in self.cuts)}
        found = [self.cuts[0]]
        depth = 0.0
        for position, node in self._legal.items():
            own = thinned.get(position)
            depth = own.depth if own else depth
            cut = own or self._cut(self._free_name(position, taken), position, node)
            found += [replace(cut, depth=depth)] if cut else []
        return (*found, self.cuts[-1])

    def cut(self, name: str) -> Cut:
        """The cut of this name; raises UnknownNameError where there is none."""
        kept = (*self.cuts, self.stem)
        found = [cut for cut in kept if cut.name == name]
        found = found or [cut for cut in self.every_cut() if cut.name == name]
        if found:
            return found[0]
        known = [cut.name for cut in kept]
        raise UnknownNameError(f"cut of {self.name}", name, known)

    def block(self, start: Cut, end: Cut) -> Block:
        """The run between two cuts, with its parameters and MACs counted."""
        inside = self._inside(start, end)
        parameters = {p for node in inside for p in self._parameters(node)}
        params = sum(parameter.numel() for parameter in parameters)
        return Block(self.name, self.input_size, start, end, params, sum(map(node_macs, inside)))

    def block_called(self, name: str) -> Block:
        """The block between neighbouring cuts whose `Block.name` this is."""
        return next(block for block in self.blocks if block.name == name)

    def activation_bytes(self, start: Cut, end: Cut) -> int:
        """The most bytes of activations that the run between two cuts holds at once, batch 1."""
        return most_alive(self._liveness, start.position + 1, end.position)

    def module(self, start: Cut, end: Cut) -> fx.GraphModule:
        """The run between two cuts as a module that shares the donor's parameters by name."""
        return extract(self._graph, self._liveness, start.position, end.position)

    def _inside(self, start: Cut, end: Cut) -> list[fx.Node]:
        return self._nodes[start.position + 1 : end.position + 1]

    def _parameters(self, node: fx.Node) -> Iterator[nn.Parameter]:
        """The parameters that a node needs; those behind free values are made anew in its block."""
        if self._liveness.is_free(node):
            return
        if node.op == "call_module":
            yield from self._graph.get_submodule(str(node.target)).parameters()
        for source in self._liveness.free_sources(node):
            attribute = _attribute(self._graph, source)
            if isinstance(attribute, nn.Parameter):
                yield attribute

    def _find_cuts(self) -> tuple[Cut, ...]:
        ends = unit_ends(self._nodes, self._legal) or self._other_ends()
        found = [self._cut(name, at, self._legal[at]) for at, name in ends.items()]
        inner = [cut for cut in found if cut is not None]
        total = len(inner) + 1
        first = TensorSpec(INPUT, (1, 3, self.input_size, self.input_size))
        last = tensor_spec(OUTPUT, self._liveness.answers[0], self._liveness.input)
        if last is None:
            raise ZooError(f"{self.name} does not answer with one tensor. Leave this donor out.")
        return (
            Cut(INPUT, -1, first, 1, 0.0),
            *(replace(cut, depth=(i + 1) / total) for i, cut in enumerate(inner)),
            Cut(OUTPUT, len(self._nodes) - 1, last, 0, 1.0),
        )

    def _other_ends(self) -> dict[int, str]:
        """Where the units of a network never leave one activation alone: any legal position.

        Such a donor (CrossViT: two branches up to its head) is worth little but as a whole.
        """
        taken = {INPUT, STEM, OUTPUT}
        return {position: self._free_name(position, taken) for position in self._legal}

    def _free_name(self, position: int, taken: set[str]) -> str:
        """The module that ends here; numbered where that has ended before (a shared activation)."""
        name = ended = self._module_ended(position)
        number = 1
        while name in taken:
            number += 1
            name = f"{ended}~{number}"
        taken.add(name)
        return name

    def _find_stem(self) -> Cut:
        """The last legal cut before the first node; the input where there is none."""
        unit = self.cuts[1].name
        first = first_positions(self._nodes, {unit}).get(unit, self.cuts[1].position)
        before = [position for position in self._legal if position < first]
        for position in reversed(before):
            cut = self._cut(STEM, position, self._legal[position])
            if cut is not None:
                return cut
        return self.cuts[0]

    def _cut(self, name: str, position: int, node: fx.Node) -> Cut | None:
        spec = tensor_spec(name, node, self._liveness.input)
        if spec is None:
            return None
        prefix = prefix_tokens(spec, self._prefix)
        return Cut(name, position, spec, stride_of(self.input_size, spec, prefix), 0.0, prefix)

    def _module_ended(self, position: int) -> str:
        """The outermost module that ends at a position; else the operator's own name."""
        following = self._nodes[position + 1]
        going_on = {path for path, _ in module_stack(following)}
        stack = [path for path, _ in module_stack(self._nodes[position]) if path]
        ended = [path for path in stack if path not in going_on]
        return ended[0] if ended else self._nodes[position].name


def dissect(model: nn.Module, input_size: int, name: str = "model") -> Dissection:
    """Cut a network at the ends of its repeated modules.

    Args:
        model: in eval mode, taking (N, 3, S, S) float32.
        input_size: S in pixels; blocks hold for this size alone.
        name: the donor's name in messages and block names.

    Raises:
        UsageError: the model is in train mode.
        ZooError: the model cannot be exported, or has no cut.
    """
    if model.training:
        raise UsageError(f"{name} is in train mode. Call its eval() first: blocks can train.")
    own = getattr(model, "num_prefix_tokens", None)
    prefix = own if isinstance(own, int) else None
    return Dissection(name, aten_graph(model, input_size, name), input_size, prefix)


def find_cuts(model: nn.Module, input_size: int | None = None) -> tuple[Cut, ...]:
    """Where a network is cut: its input, the end of every node, its output.

    Args:
        model: in eval mode, taking (N, 3, S, S) float32.
        input_size: S in pixels; left out, what timm says of the network, else 224.

    Raises:
        ZooError: as `dissect`.
    """
    config = getattr(model, "pretrained_cfg", None) or {}
    own = config.get("input_size", (3, _USUAL_SIZE, _USUAL_SIZE))
    return dissect(model, input_size or int(own[-1])).cuts


def _attribute(graph: fx.GraphModule, node: fx.Node) -> object:
    if node.op != "get_attr":
        return None
    owner, _, name = str(node.target).rpartition(".")
    return getattr(graph.get_submodule(owner), name)
