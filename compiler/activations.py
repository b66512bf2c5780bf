"""Activations: how many bytes of them a stretch of a graph holds at once."""

import torch
from torch import fx

from compiler.liveness import Liveness, size_expression


def most_alive(liveness: Liveness, first: int, last: int) -> int:
    """The most bytes of activations that are alive while any of a row of calls runs, batch 1.

    A call needs what it reads, what it writes, and what later calls read; nothing is computed in
    place.

    Args:
        liveness: of the whole graph.
        first: position of the first call.
        last: position of the last one.
    """
    sizes: dict[fx.Node, int] = {}
    most = 0
    for position in range(first, last + 1):
        before = [liveness.input] if position == 0 else liveness.live[position - 1]
        alive = {*before, *liveness.live[position], liveness.nodes[position]}
        if liveness.input in liveness.nodes[position].all_input_nodes:
            alive.add(liveness.input)
        for node in alive - sizes.keys():
            sizes[node] = 0 if liveness.is_free(node) else _bytes(node, liveness.input)
        most = max(most, sum(sizes[node] for node in alive))
    return most


def _bytes(node: fx.Node, batch: fx.Node) -> int:
    """Of a tensor for batch 1; 0 where the call gives none or several."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return 0
    symbol = size_expression(batch.meta["val"].shape[0])
    count = 1
    for size in value.shape:
        count *= size if isinstance(size, int) else int(size_expression(size).subs(symbol, 1))
    return count * value.element_size()
