"""MACs: the usual count of the field, checked by hand."""

import pytest
from torch import nn

from compiler.graph import aten_graph
from compiler.macs import node_macs


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), 8 * 10 * 10 * 3 * 9),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), 8 * 5 * 5 * 3 * 9),
        (nn.Conv2d(3, 6, 5, groups=3, bias=False), 6 * 6 * 6 * 1 * 25),
        (nn.Linear(10, 7), 3 * 10 * 10 * 7),
        (nn.Sequential(nn.Flatten(), nn.Linear(300, 4)), 300 * 4),
        (nn.BatchNorm2d(3), 0),
        (nn.AvgPool2d(2), 0),
        (nn.GELU(), 0),
    ],
)
def test_layers_cost_what_they_multiply_for_a_batch_of_one(layer: nn.Module, macs: int) -> None:
    graph = aten_graph(nn.Sequential(layer).eval(), 10)

    assert sum(node_macs(node) for node in graph.graph.nodes) == macs
