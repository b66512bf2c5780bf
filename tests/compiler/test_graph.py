"""Graphs: the same numbers as the network, in both modes, on the network's own parameters."""

import copy
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compiler.graph import aten_graph
from targets.errors import ZooError


class Custom(nn.Module):
    """A network of one convolution whose forward pass is given."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        for name, part in parts.items():
            self.add_module(name, part)
        self._forward = forward
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, self.conv(x))


class Running(nn.Module):
    """Batch-norm by hand: statistics without a counter, and nothing to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.full((4,), 0.5))
        self.register_buffer("running_var", torch.full((4,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, training=self.training)


def pixels(batch: int = 2, size: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_graph_computes_the_same_bits_for_every_batch(toy: nn.Module, batch: int) -> None:
    x = pixels(batch, 16)

    graph = aten_graph(toy, 16)

    assert torch.equal(graph(x), toy(x))


def test_a_graph_holds_the_networks_own_parameters_and_buffers_under_their_names(
    toy: nn.Module,
) -> None:
    graph = aten_graph(toy, 16)

    parameters, buffers = dict(graph.named_parameters()), dict(graph.named_buffers())
    assert parameters.keys() == dict(toy.named_parameters()).keys()
    assert all(parameters[name] is value for name, value in toy.named_parameters())
    assert buffers.keys() == dict(toy.named_buffers()).keys()
    assert all(buffers[name].data_ptr() == value.data_ptr() for name, value in toy.named_buffers())


def test_nothing_is_written_in_place(toy: nn.Module) -> None:
    graph = aten_graph(toy, 16)

    names = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert "aten.relu.default" in names
    assert [name for name in names if name.partition(".")[2].partition(".")[0].endswith("_")] == []


@pytest.mark.parametrize(
    "name", ["mobilenetv2_035", "resnet10t", "regnety_002", "tf_efficientnet_lite0", "test_byobnet"]
)
def test_train_mode_is_the_donors_train_mode_with_its_statistics(name: str) -> None:
    donor = timm.create_model(name, pretrained=False, num_classes=10, drop_rate=0.3).eval()
    twin = copy.deepcopy(donor).train()
    x = pixels(4, 64)

    graph = aten_graph(donor, 64, name).train()

    torch.manual_seed(1)
    trained = graph(x)
    torch.manual_seed(1)
    assert torch.equal(trained, twin(x))
    statistics = dict(twin.named_buffers())
    assert all(torch.equal(value, statistics[key]) for key, value in donor.named_buffers())
    assert torch.equal(graph.eval()(x), twin.eval()(x))


def test_dropout_drops_in_train_mode_alone() -> None:
    donor = Custom(lambda m, x: F.dropout(x, 0.5, m.training))
    x = pixels()

    graph = aten_graph(donor, 8)

    assert torch.equal(graph(x), donor(x))
    assert float((graph.train()(x) == 0).float().mean()) > 0.2


def test_a_batch_norm_of_flat_activations_is_put_back() -> None:
    donor = Custom(lambda m, x: m.get_submodule("norm")(x.mean((2, 3))), norm=nn.BatchNorm1d(4))

    graph = aten_graph(donor, 8)

    assert isinstance(graph.get_submodule("norm"), nn.BatchNorm1d)
    assert torch.equal(graph(pixels()), donor(pixels()))


def test_a_batch_norm_without_weights_or_counter_is_put_back() -> None:
    donor = Custom(lambda m, x: m.get_submodule("norm")(x), norm=Running())

    graph = aten_graph(donor, 8)

    norm = graph.get_submodule("norm")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.weight is None
    assert torch.equal(graph(pixels()), donor(pixels()))


def test_a_batch_norm_without_statistics_stays_an_operator() -> None:
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    donor = Custom(lambda m, x: m.get_submodule("norm")(x), norm=norm)

    graph = aten_graph(donor, 8)

    assert torch.equal(graph(pixels()), donor(pixels()))


def test_a_write_whose_result_is_not_taken_is_kept() -> None:
    def forward(module: nn.Module, x: Tensor) -> Tensor:
        F.relu_(x)
        return x * 2

    donor = Custom(forward)

    assert torch.equal(aten_graph(donor, 8)(pixels()), donor(pixels()))


def test_a_write_through_a_view_is_rewritten() -> None:
    def forward(module: nn.Module, x: Tensor) -> Tensor:
        x[:, :1].add_(1.0)
        return x * 2

    donor = Custom(forward)

    assert torch.equal(aten_graph(donor, 8)(pixels()), donor(pixels()))


def test_a_network_that_answers_otherwise_each_time_is_refused() -> None:
    calls: list[int] = []

    def forward(module: nn.Module, x: Tensor) -> Tensor:
        calls.append(0)
        return x * len(calls)

    with pytest.raises(ZooError) as caught:
        aten_graph(Custom(forward), 8, "fickle")

    assert str(caught.value) == (
        "Cannot cut fickle: its graph computes something else than itself, most likely because its "
        "answer depends on more than its input. Leave this donor out."
    )


def test_a_network_that_cannot_be_traced_is_refused_with_the_reason() -> None:
    donor = Custom(lambda m, x: x if x.sum() > 0 else -x)

    with pytest.raises(ZooError) as caught:
        aten_graph(donor, 8, "fickle")

    assert str(caught.value).startswith("Cannot cut fickle at 8 px: torch.export refused it (")
    assert str(caught.value).endswith("). Leave this donor out, or choose another input size.")


def test_a_transformer_at_a_size_that_is_not_its_own_is_refused() -> None:
    donor = timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=1).eval()

    with pytest.raises(ZooError, match=r"refused it \(Input height \(64\) doesn't match model"):
        aten_graph(donor, 64, "vit")


def test_a_refusal_without_words_is_named_by_its_kind() -> None:
    def forward(module: nn.Module, x: Tensor) -> Tensor:
        raise ValueError

    with pytest.raises(ZooError, match=r"refused it \(ValueError\)"):
        aten_graph(Custom(forward), 8)
