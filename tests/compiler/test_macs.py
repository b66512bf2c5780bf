"""MACs: the usual count of the field, checked by hand."""

import pytest
import torch
from torch import Tensor, nn

from compiler.graph import aten_graph
from compiler.macs import module_macs, node_macs


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


class Windows(nn.Module):
    """A linear layer over the windows of a picture, which multiply the batch, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 7)

    def forward(self, x: Tensor) -> Tensor:
        windows = x.reshape(x.shape[0], 3, 2, 5, 10).permute(0, 2, 3, 4, 1).reshape(-1, 50, 3)
        y: Tensor = self.layer(windows)
        return y.reshape(x.shape[0], -1)


def test_windows_that_multiply_the_batch_are_all_counted() -> None:
    graph = aten_graph(Windows().eval(), 10)

    assert sum(node_macs(node) for node in graph.graph.nodes) == 2 * 50 * 3 * 7


def test_a_module_is_counted_by_its_graph() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), Windows().layer, nn.Flatten())

    assert module_macs(module, torch.zeros(1, 3, 5, 5)) == 8 * 3 * 3 * 27 + 8 * 3 * 7 * 3
