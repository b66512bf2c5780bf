"""Liveness: what every position of a graph still needs of what came before it.

Some values cost nothing to carry across a cut, because they can be made anew behind it: reads of
the batch size and arithmetic on it, and whatever is computed from parameters alone. These are
*free*. Only activations that depend on the input's values are live.
"""

import torch
from sympy import Expr, Integer
from torch import fx

_BATCH_SIZE = torch.ops.aten.sym_size.int


class Liveness:
    """The activations that are live after every position of a flat graph of one input.

    Attributes:
        nodes: the graph's calls, in order; a position is an index into them.
        answers: what the graph returns.
        live: for every position, the activations that later nodes still need.
        legal: positions where one activation alone is live, and that activation. The last
            position is none: a cut behind it would leave an empty block.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        self.input: fx.Node = graph.graph.find_nodes(op="placeholder")[0]
        self.nodes: list[fx.Node] = [n for n in graph.graph.nodes if n.op.startswith("call_")]
        self.answers: list[fx.Node] = graph.graph.output_node().all_input_nodes
        self._free = _free(graph.graph)
        self.live = self._live()
        self.legal = self._legal()

    def is_free(self, node: fx.Node) -> bool:
        """Whether the value of `node` can be made anew wherever it is needed."""
        return node in self._free

    def crossing(self, position: int) -> fx.Node:
        """The activation that alone is live behind a legal position; -1 is the input."""
        if position < 0:
            return self.input
        return self.answers[0] if position == len(self.nodes) - 1 else self.legal[position]

    def free_sources(self, node: fx.Node) -> set[fx.Node]:
        """The free values that a node needs, at any distance."""
        found: set[fx.Node] = set()
        waiting = [node]
        while waiting:
            sources = [s for s in waiting.pop().all_input_nodes if s in self._free - found]
            found.update(sources)
            waiting.extend(sources)
        return found

    def _legal(self) -> dict[int, fx.Node]:
        uses = [i for i, node in enumerate(self.nodes) if self._reads_input(node)]
        first = max(uses, default=len(self.nodes))
        return {
            position: live[0]
            for position, live in enumerate(self.live[:-1])
            if position >= first and len(live) == 1 and _carries_batch(self.input, live[0])
        }

    def _reads_input(self, node: fx.Node) -> bool:
        return self.input in node.all_input_nodes and node not in self._free

    def _live(self) -> list[list[fx.Node]]:
        last_use = dict.fromkeys(self.nodes, -1)
        for i, node in enumerate(self.nodes):
            if node not in self._free:  # what a free node reads is made anew with it
                last_use.update({s: i for s in node.all_input_nodes if s in last_use})
        for source in self.answers:
            last_use[source] = len(self.nodes)
        live: list[list[fx.Node]] = []
        current: list[fx.Node] = []
        for i, node in enumerate(self.nodes):
            born = [] if node in self._free else [node]
            current = [n for n in current + born if last_use[n] > i]
            live.append(current)
        return live


def batch_factor(batch: fx.Node, value: fx.Node) -> tuple[int, int] | None:
    """Dimension d and factor k with `value.shape[d] == k * batch.shape[0]`; None: there is none.

    A factor of 1 is preferred: windows, for example, multiply the batch.
    """
    symbol = size_expression(batch.meta["val"].shape[0])
    found = []
    for dimension, size in enumerate(value.meta["val"].shape):
        factor = size_expression(size) / symbol
        if factor.is_Integer:
            found.append((int(factor), dimension))
    if not found:
        return None
    factor, dimension = min(found)
    return dimension, factor


def size_expression(size: int | torch.SymInt) -> Expr:
    """A dimension as an expression of the batch size."""
    return size.node.expr if isinstance(size, torch.SymInt) else Integer(size)


def _carries_batch(batch: fx.Node, value: fx.Node) -> bool:
    tensor = value.meta.get("val")
    return isinstance(tensor, torch.Tensor) and batch_factor(batch, value) is not None


def _free(graph: fx.Graph) -> set[fx.Node]:
    free: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "get_attr" or node.target is _BATCH_SIZE:
            free.add(node)
        elif node.op == "call_function" and _is_repeatable(node):
            free |= {node} if free.issuperset(node.all_input_nodes) else set()
    return free


def _is_repeatable(node: fx.Node) -> bool:
    """Whether a second call gives the same: no random numbers are drawn, nothing is written."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return True
    random = torch.Tag.nondeterministic_seeded in target.tags
    return not random and not target._schema.is_mutable
