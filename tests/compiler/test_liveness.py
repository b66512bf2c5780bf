"""Liveness: what can be made anew blocks no cut, and is made anew behind it."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, fx, nn

from compiler.extraction import extract
from compiler.graph import aten_graph
from compiler.liveness import Liveness, batch_factor


class Windows(nn.Module):
    """Four windows of an image, worked on one by one; the batch size is needed to the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 5)
        self.second = nn.Linear(5, 5)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        windows = x.permute(0, 2, 3, 1).reshape(batch * 4, 4, 3)
        y = self.second(self.first(windows).tanh())
        return y.reshape(batch, 16, 5).mean(1)


class Table(nn.Module):
    """Two layers that add the same table, made of a parameter once."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 3))
        self.first = nn.Conv2d(3, 3, 1)
        self.second = nn.Conv2d(3, 3, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        table = (self.scale * 2).exp()[:, None, None]
        y = self.first(x) + table
        return (self.second(y) + table).mean((2, 3))


class Noisy(Table):
    """The same with random numbers: they must be drawn once."""

    def forward(self, x: Tensor) -> Tensor:
        table = torch.rand_like(self.scale)[:, None, None]
        y = self.first(x) + table
        return (self.second(y) + table).mean((2, 3))


class Turned(nn.Module):
    """Positions come first, the batch second."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        y = self.linear(x.flatten(2).permute(2, 0, 1))
        return y.tanh().permute(1, 0, 2).reshape(batch, 16 * 3)


def pixels(batch: int) -> Tensor:
    return torch.randn(batch, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def cut_everywhere(graph: fx.GraphModule, liveness: Liveness, x: Tensor) -> Tensor:
    places = [-1, *liveness.legal, len(liveness.nodes) - 1]
    for start, end in pairwise(places):
        x = extract(graph, liveness, start, end)(x)
    return x


@pytest.mark.parametrize("make", [Windows, Table, Turned])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_network_cut_everywhere_is_the_network(make: Callable[[], nn.Module], batch: int) -> None:
    donor = make()
    graph = aten_graph(donor, 4)
    liveness = Liveness(graph)

    with torch.no_grad():
        assert torch.equal(cut_everywhere(graph, liveness, pixels(batch)), donor(pixels(batch)))


def test_a_batch_of_windows_can_be_cut_and_says_how_many_windows_an_image_has() -> None:
    liveness = Liveness(aten_graph(Windows(), 4))

    factors = [batch_factor(liveness.input, node) for node in liveness.legal.values()]
    assert (0, 4) in factors
    assert factors[-1] == (0, 1)


def test_a_batch_may_be_any_dimension() -> None:
    liveness = Liveness(aten_graph(Turned(), 4))

    assert (1, 1) in [batch_factor(liveness.input, node) for node in liveness.legal.values()]


def test_what_parameters_alone_make_is_carried_across_cuts() -> None:
    graph = aten_graph(Table(), 4)
    liveness = Liveness(graph)

    names = {node.name for node in liveness.legal.values()}
    behind = extract(graph, liveness, min(liveness.legal), len(liveness.nodes) - 1)
    assert {"conv2d", "add", "conv2d_1", "add_1"} <= names
    assert "scale" in dict(behind.named_parameters())


def test_random_numbers_are_not_made_anew() -> None:
    graph = torch.export.export(Noisy(), (pixels(2),)).module()
    assert isinstance(graph, fx.GraphModule)
    liveness = Liveness(graph)

    (random,) = [node for node in liveness.nodes if node.name == "rand_like"]
    assert not liveness.is_free(random)
    assert random in {node for live in liveness.live for node in live}
