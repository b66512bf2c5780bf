"""Modes: what a donor does in train mode alone, its graph does too, drawn from the same numbers."""

import pytest
import timm
import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from compiler.graph import aten_graph
from compiler.graph_modes import DroppingAttention, marked


class Residual(nn.Module):
    """A convolution that stochastic depth leaves out, and a dropout behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.path = DropPath(0.5)
        self.drop = nn.Dropout(0.5)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.drop(x + self.path(self.conv(x)))
        return y


class Attention(nn.Module):
    """Fused attention of one head, told its dropout as timm's is."""

    def __init__(self, dropout: nn.Module | float) -> None:
        super().__init__()
        self.proj = nn.Linear(3, 3)
        self.attn_drop = dropout
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        p = self.attn_drop if isinstance(self.attn_drop, float) else self.attn_drop.p
        q: Tensor = self.proj(x.flatten(2).transpose(1, 2))
        return F.scaled_dot_product_attention(q, q, q, dropout_p=p if self.training else 0.0)


def pixels(batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def drawn(module: nn.Module, x: Tensor, seed: int = 1) -> Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        y: Tensor = module(x)
        return y


def test_stochastic_depth_and_dropout_draw_what_the_donor_draws() -> None:
    donor = Residual()
    graph = aten_graph(donor, 4)

    graph.train()
    donor.train()

    assert torch.equal(drawn(graph, pixels()), drawn(donor, pixels()))
    assert not torch.equal(drawn(graph, pixels()), drawn(graph.eval(), pixels()))
    assert torch.equal(graph(pixels()), donor.eval()(pixels()))


@pytest.mark.parametrize("dropout", [nn.Dropout(0.5), 0.5])
def test_attention_drops_in_train_mode_as_the_module_around_it_says(
    dropout: nn.Module | float,
) -> None:
    donor = Attention(dropout)
    graph = aten_graph(donor, 4)

    assert any(isinstance(part, DroppingAttention) for part in graph.modules())
    assert torch.equal(graph(pixels()), donor(pixels()))
    assert torch.equal(drawn(graph.train(), pixels()), drawn(donor.train(), pixels()))


def test_attention_without_dropout_stays_an_operator() -> None:
    graph = aten_graph(Attention(nn.Dropout(0.0)), 4)

    assert not any(isinstance(part, DroppingAttention) for part in graph.modules())


def test_a_transformer_with_every_kind_of_dropout_trains_as_the_donor() -> None:
    rates = {"drop_path_rate": 0.3, "attn_drop_rate": 0.2, "proj_drop_rate": 0.1, "drop_rate": 0.4}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        donor = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=3, **rates).eval()
    graph = aten_graph(donor, 32)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    graph.train()
    donor.train()

    assert torch.equal(drawn(graph, x), drawn(donor, x))


def test_a_donor_is_as_it_was_after_it_was_marked() -> None:
    donor = Residual()

    with pytest.raises(TypeError), marked(donor):
        donor("no tensor")

    assert "forward" not in donor.path.__dict__
    assert torch.equal(donor(pixels()), donor(pixels()))


def test_a_marker_changes_nothing() -> None:
    donor = Residual()
    before = donor(pixels())

    with marked(donor):
        assert torch.equal(donor(pixels()), before)
