"""Modes: what a donor does in train mode alone, its graph does too, drawn from the same numbers."""

from collections.abc import Callable

import pytest
import timm
import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from compiler.graph import aten_graph
from compiler.graph_modes import DroppingAttention, marked
from targets.errors import ZooError


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


class Encoder(nn.Module):
    """A transformer layer of torch's own, with its usual dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(3, 1, 8, dropout=0.5, batch_first=True)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.flatten(2).transpose(1, 2))
        return y


class Weighing(nn.Module):
    """Attention that also returns its weights: in eval mode nothing tells that it drops some."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, dropout=0.5, batch_first=True)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        q = x.flatten(2).transpose(1, 2)
        y: Tensor = self.attention(q, q, q, need_weights=True)[0]
        return y


class Functional(nn.Module):
    """Dropout of whole channels, called as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(self.conv(x), 0.5, self.training)


@pytest.mark.parametrize("make", [Encoder, Functional])
def test_torchs_own_layers_and_functions_drop_as_in_the_donor(
    make: Callable[[], nn.Module],
) -> None:
    donor = make()
    graph = aten_graph(donor, 4)

    assert torch.equal(graph(pixels()), donor(pixels()))
    assert torch.equal(drawn(graph.train(), pixels()), drawn(donor.train(), pixels()))
    assert not torch.equal(drawn(graph, pixels()), drawn(graph.eval(), pixels()))


def test_attention_whose_dropout_leaves_no_trace_is_refused() -> None:
    with pytest.raises(ZooError) as caught:
        aten_graph(Weighing(), 4, "weighing")

    assert str(caught.value) == (
        "Cannot cut weighing: the attention weights that attention drops in train mode leave no "
        "trace in its graph. Make it with dropout=0, or call it with need_weights=False."
    )


def test_a_batch_norm_keeps_the_parameters_of_its_activation() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        donor = timm.create_model("regnety_002", act_layer="prelu", num_classes=3).eval()
    graph = aten_graph(donor, 32)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    assert torch.equal(graph(x), donor(x))
    own = dict(donor.named_parameters())
    assert all(own[name] is parameter for name, parameter in graph.named_parameters())


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
