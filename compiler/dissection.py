"""Dissection: where a network can be cut, and the blocks between its cuts.

A *cut* is a position where exactly one activation is live: everything after it depends on the
input only through that tensor (design, section 3). Cuts are thinned to the ends of the modules
that repeat (residual unit, inverted residual, transformer block): the field's *nodes*.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import fx, nn

from backends.model import TensorSpec
from compiler.graph import aten_graph
from compiler.macs import node_macs
from compiler.units import unit_ends
from targets.errors import UnknownNameError, ZooError

INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True, slots=True)
class Cut:
    """A legal boundary: the tensor that alone crosses it.

    Attributes:
        name: the module that ends here, in the donor's own naming (`blocks.4.2`).
        position: index of the last graph node before the cut.
        tensor: what crosses, for batch 1.
        stride: input pixels per grid step of that tensor.
        depth: share of the donor's nodes that lie before the cut, 0 to 1.
    """

    name: str
    position: int
    tensor: TensorSpec
    stride: int
    depth: float

    @property
    def channels(self) -> int:
        """Channels of the tensor that crosses."""
        return self.tensor.shape[self.tensor.layout.index("C")]

    @property
    def grid(self) -> tuple[int, ...]:
        """Height and width of the tensor that crosses, empty where it is not NCHW."""
        return self.tensor.shape[2:] if self.tensor.layout == "NCHW" else ()


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


class Dissection:
    """One donor at one input size, cut at the ends of its repeated modules."""

    def __init__(self, name: str, graph: fx.GraphModule, input_size: int) -> None:
        self.name = name
        self.input_size = input_size
        self._graph = graph
        self._nodes = [node for node in graph.graph.nodes if node.op.startswith("call_")]
        self._live = _live_after(graph, self._nodes)
        self.cuts = self._find_cuts()
        if len(self.cuts) < 3:
            raise ZooError(
                f"{name} has no position where a single activation is live between its repeated "
                "modules, so it cannot lend blocks. Leave this donor out."
            )

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks between neighbouring cuts, in order."""
        return tuple(self.block(a, b) for a, b in zip(self.cuts, self.cuts[1:], strict=False))

    def cut(self, name: str) -> Cut:
        """The cut of this name; raises UnknownNameError where there is none."""
        for cut in self.cuts:
            if cut.name == name:
                return cut
        raise UnknownNameError(f"cut of {self.name}", name, [cut.name for cut in self.cuts])

    def block(self, start: Cut, end: Cut) -> Block:
        """The run between two cuts, with its parameters and MACs counted."""
        inside = self._nodes[start.position + 1 : end.position + 1]
        names = {name for node in inside for name, _ in self._parameters(node)}
        params = sum(self._graph.get_parameter(name).numel() for name in names)
        return Block(self.name, self.input_size, start, end, params, sum(map(node_macs, inside)))

    def block_called(self, name: str) -> Block:
        """The block between neighbouring cuts whose `Block.name` this is."""
        return next(block for block in self.blocks if block.name == name)

    def module(self, start: Cut, end: Cut) -> fx.GraphModule:
        """The run between two cuts as a module that shares the donor's parameters by name."""
        inside = self._nodes[start.position + 1 : end.position + 1]
        return _extract(self._graph, inside, self._crossing(start.position))

    def _crossing(self, position: int) -> fx.Node:
        if position < 0:
            node: fx.Node = self._graph.graph.find_nodes(op="placeholder")[0]
            return node
        return self._live[position][0]

    def _parameters(self, node: fx.Node) -> Iterator[tuple[str, nn.Parameter]]:
        if node.op == "call_module":
            module = self._graph.get_submodule(str(node.target))
            for name, parameter in module.named_parameters():
                yield f"{node.target}.{name}", parameter
        for source in node.all_input_nodes:
            attribute = _attribute(self._graph, source)
            if isinstance(attribute, nn.Parameter):
                yield str(source.target), attribute

    def _find_cuts(self) -> tuple[Cut, ...]:
        # The last node ends the network: a cut behind it would leave an empty block.
        legal = {
            position: live[0]
            for position, live in enumerate(self._live[:-1])
            if len(live) == 1 and position >= self._last_use_of_input()
        }
        ends = unit_ends(self._nodes, legal)
        found = [
            (ends[position], position, node) for position, node in legal.items() if position in ends
        ]
        first = TensorSpec(INPUT, (1, 3, self.input_size, self.input_size))
        cuts = [Cut(INPUT, -1, first, 1, 0.0)]
        total = len(found) + 1
        for i, (name, position, node) in enumerate(found):
            spec = _spec(name, node)
            if spec is not None:
                stride = _stride(self.input_size, spec)
                cuts.append(Cut(name, position, spec, stride, (i + 1) / total))
        last = _spec(OUTPUT, self._nodes[-1])
        assert last is not None
        cuts.append(Cut(OUTPUT, len(self._nodes) - 1, last, 0, 1.0))
        return tuple(cuts)

    def _last_use_of_input(self) -> int:
        (placeholder,) = self._graph.graph.find_nodes(op="placeholder")
        return max(i for i, node in enumerate(self._nodes) if placeholder in node.all_input_nodes)


def dissect(model: nn.Module, input_size: int, name: str = "model") -> Dissection:
    """Cut a network at the ends of its repeated modules.

    Args:
        model: in eval mode, taking (N, 3, S, S) float32.
        input_size: S in pixels; blocks hold for this size alone.
        name: the donor's name in messages and block names.

    Raises:
        ZooError: the model cannot be exported, or has no cut.
    """
    return Dissection(name, aten_graph(model, input_size, name), input_size)


def _live_after(graph: fx.GraphModule, nodes: list[fx.Node]) -> list[list[fx.Node]]:
    """For every position, the activations that later nodes still need."""
    last_use = dict.fromkeys(nodes, -1)
    for i, node in enumerate(nodes):
        last_use.update({source: i for source in node.all_input_nodes if source in last_use})
    for source in graph.graph.output_node().all_input_nodes:
        last_use[source] = len(nodes)
    live: list[list[fx.Node]] = []
    current: list[fx.Node] = []
    for i, node in enumerate(nodes):
        born = [] if _is_batch_size(node) else [node]
        current = [n for n in current + born if last_use[n] > i]
        live.append(current)
    return live


def _is_batch_size(node: fx.Node) -> bool:
    """A read of the batch size: free at any position, since every tensor carries it."""
    return node.target is torch.ops.aten.sym_size.int and bool(node.args[1] == 0)


def _attribute(graph: fx.GraphModule, node: fx.Node) -> object:
    if node.op != "get_attr":
        return None
    owner, _, name = str(node.target).rpartition(".")
    return getattr(graph.get_submodule(owner), name)


def _stride(input_size: int, spec: TensorSpec) -> int:
    """Input pixels per grid step: from the height, or the number of tokens (NLC)."""
    side = spec.shape[1] ** 0.5 if spec.layout == "NLC" else spec.shape[spec.layout.find("H")]
    return max(1, round(input_size / side))


def _spec(name: str, node: fx.Node) -> TensorSpec | None:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return None
    shape = (1, *(int(size) for size in value.shape[1:]))
    return TensorSpec(name, shape, str(value.dtype).removeprefix("torch."), _layout(shape))


def _layout(shape: tuple[int, ...]) -> str:
    """Inputs are square, and so is every grid: equal sides in front mean channels last."""
    if len(shape) == 4:
        return "NHWC" if shape[1] == shape[2] != shape[3] else "NCHW"
    return "NLC" if len(shape) == 3 else "NC"


def _extract(graph: fx.GraphModule, inside: list[fx.Node], crossing: fx.Node) -> fx.GraphModule:
    """The nodes `inside` as a module of one input: the tensor that crosses before them."""
    new = fx.Graph()
    x = new.placeholder("x")
    x.meta = dict(crossing.meta)
    copies: dict[fx.Node, fx.Node] = {crossing: x}

    def copied(node: fx.Node) -> fx.Node:
        if node in copies:
            return copies[node]
        if _is_batch_size(node):
            copies[node] = new.call_function(torch.ops.aten.sym_size.int, (x, 0))
        elif node.op == "get_attr":
            copies[node] = new.node_copy(node)
        else:
            raise AssertionError(f"{node.name} crosses the cut beside {crossing.name}")
        copies[node].meta = dict(node.meta)
        return copies[node]

    for node in inside:
        if not _is_batch_size(node):
            copies[node] = new.node_copy(node, copied)
    new.output(copies[inside[-1]] if inside else x)
    new.lint()
    return fx.GraphModule(graph, new)
