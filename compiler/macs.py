"""Multiply-accumulates of a graph node: convolutions and linear layers, batch 1."""

from math import prod

import torch
from torch import fx

_CONVOLUTION = torch.ops.aten.conv2d.default
_LINEAR = torch.ops.aten.linear.default


def node_macs(node: fx.Node) -> int:
    """MACs of one ATen node for a batch of one; zero for everything that does not multiply.

    A convolution costs output elements x (input channels / groups) x kernel area; a linear layer
    output elements x input features: the usual count of the field, bias and pooling left out.
    """
    if node.target not in (_CONVOLUTION, _LINEAR):
        return 0
    weight = node.args[1]
    assert isinstance(weight, fx.Node)
    positions = [int(size) for size in node.meta["val"].shape[1:]]
    return prod(positions) * prod(int(size) for size in weight.meta["val"].shape[1:])
