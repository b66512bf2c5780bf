"""Extraction: the part of a graph between two positions as a module of its own."""

import operator

import torch
from torch import fx

from compiler.liveness import Liveness, batch_factor, size_expression

_SIZE = torch.ops.aten.sym_size.int


def extract(graph: fx.GraphModule, liveness: Liveness, start: int, end: int) -> fx.GraphModule:
    """What lies behind position `start` up to `end`, both legal cuts, as a module of one input.

    Free values that were made before the cut are made anew; the batch size is read from the input.
    The module's parameters are those of `graph`, under the same names.
    """
    made = _Extraction(graph, liveness, liveness.crossing(start))
    return made.module(liveness.nodes[start + 1 : end + 1], liveness.crossing(end))


class _Extraction:
    def __init__(self, graph: fx.GraphModule, liveness: Liveness, crossing: fx.Node) -> None:
        self._graph = graph
        self._liveness = liveness
        self._new = fx.Graph()
        self._x = self._new.placeholder("x")
        self._x.meta = dict(crossing.meta)
        self._crossing = crossing
        self._copies: dict[fx.Node, fx.Node] = {crossing: self._x}
        self._batch: fx.Node | None = None

    def module(self, inside: list[fx.Node], outgoing: fx.Node) -> fx.GraphModule:
        for node in inside:
            if not self._liveness.is_free(node):
                self._copies[node] = self._new.node_copy(node, self._copied)
        self._new.output(self._copies[outgoing])
        self._new.lint()
        return fx.GraphModule(self._graph, self._new)

    def _copied(self, node: fx.Node) -> fx.Node:
        """The copy of a node; a free one is made now, before whoever needs it first."""
        if node not in self._copies:
            if not self._liveness.is_free(node):
                raise AssertionError(f"{node.name} crosses the cut beside {self._crossing.name}")
            self._copies[node] = self._made_anew(node)
            self._copies[node].meta = dict(node.meta)
        return self._copies[node]

    def _made_anew(self, node: fx.Node) -> fx.Node:
        if node.target is _SIZE:
            return self._size(node)
        return self._new.node_copy(node, self._copied)

    def _size(self, node: fx.Node) -> fx.Node:
        """A size as a multiple of the batch, which is read from the tensor that crosses."""
        symbol = size_expression(self._liveness.input.meta["val"].shape[0])
        times = int(size_expression(node.meta["val"]) / symbol)
        batch = self._batch_size()
        return batch if times == 1 else self._new.call_function(operator.mul, (batch, times))

    def _batch_size(self) -> fx.Node:
        if self._batch is None:
            found = batch_factor(self._liveness.input, self._crossing)
            assert found is not None, "only a tensor that carries the batch is a cut"
            dimension, factor = found
            self._batch = self._new.call_function(_SIZE, (self._x, dimension))
            self._batch.meta = {"val": self._crossing.meta["val"].shape[dimension]}
            if factor != 1:
                of_cut = self._batch
                self._batch = self._new.call_function(operator.floordiv, (of_cut, factor))
        return self._batch
