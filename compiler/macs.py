"""Multiply-accumulates of a graph node: convolutions and linear layers, batch 1."""

from math import prod

import torch
from torch import Tensor, fx, nn

from compiler.liveness import size_expression

_CONVOLUTION = torch.ops.aten.conv2d.default
_LINEAR = torch.ops.aten.linear.default


def node_macs(node: fx.Node) -> int:
    """MACs of one ATen node for a batch of one; zero for everything that does not multiply.

    A convolution costs output elements x (input channels / groups) x kernel area; a linear layer
    output elements x input features: the usual count of the field, bias and pooling left out.
    Windows of attention multiply the batch, so its dimension counts as well, for a batch of one.
    """
    if node.target not in (_CONVOLUTION, _LINEAR):
        return 0
    weight = node.args[1]
    assert isinstance(weight, fx.Node)
    positions = [_for_one(size) for size in node.meta["val"].shape]
    return prod(positions) * prod(int(size) for size in weight.meta["val"].shape[1:])


def _for_one(size: int | torch.SymInt) -> int:
    expression = size_expression(size)
    return int(expression.subs(dict.fromkeys(expression.free_symbols, 1)))


def module_macs(module: nn.Module, example: Tensor) -> int:
    """MACs of a module for a batch of one, counted in its exported graph.

    Args:
        module: of one input; may be on the meta device.
        example: an input for a batch of one, batch first.
    """
    program = torch.export.export(module, (example,))
    return sum(node_macs(node) for node in program.graph.nodes)
