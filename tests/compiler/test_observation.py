"""Observation: what modules and graphs use is seen alike, and nothing stays behind."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import StdConv2d
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import BaseTorchFunctionMode

from compiler import observation
from compiler.graph import aten_graph
from compiler.observation import (
    ActivationCodes,
    DoublePrecision,
    WeightsUsed,
    WithoutBatchNorm,
    agreements,
    leaves,
    modes,
    run,
)
from targets.errors import UsageError


def used(network: nn.Module, x: Tensor) -> list[str]:
    """Names of the parameters that a run uses as weights."""
    parameters = leaves(network)
    with modes(network, batch_statistics=True), WeightsUsed() as weights:
        run(network, x, parameters)
    names = {id(tensor): name for name, tensor in parameters.items()}
    return [names[id(tensor)] for tensor in weights.tensors]


class Mixed(nn.Module):
    """Layers with weights, one of them twice, and parameters that are none."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 2, 2)
        self.norm = nn.BatchNorm2d(8)
        self.position = nn.Parameter(torch.zeros(1, 8, 4, 4))
        self.grow = nn.ConvTranspose2d(8, 4, 2, 2)
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grow(self.norm(self.conv(x)) + self.position)
        y: Tensor = self.fc(F.linear(x.mean((2, 3)), weight=self.fc.weight))
        return y


def test_weights_are_those_of_convolutions_and_linear_layers_each_once() -> None:
    assert used(Mixed(), torch.ones(2, 3, 8, 8)) == ["conv.weight", "grow.weight", "fc.weight"]


def test_an_exported_graph_uses_the_weights_of_its_network() -> None:
    graph = aten_graph(Mixed().eval(), 8)

    assert used(graph, torch.ones(2, 3, 8, 8)) == ["conv.weight", "grow.weight", "fc.weight"]


def test_weights_that_are_computed_first_count_through_what_they_are_made_of() -> None:
    conv = StdConv2d(3, 4, 1)

    assert used(conv, torch.ones(2, 3, 4, 4)) == ["weight"]


@pytest.mark.parametrize("exported", [False, True])
def test_the_projections_of_attention_are_weights(exported: bool) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(3, 1, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.flatten(2).transpose(1, 2)
            y: Tensor = self.inner(tokens, tokens, tokens, need_weights=False)[0]
            return y

    network = Attention().eval()
    found = used(aten_graph(network, 4) if exported else network, torch.ones(2, 3, 4, 4))

    assert sorted(found) == ["inner.in_proj_weight", "inner.out_proj.weight"]


def test_batch_norm_is_passed_by_however_it_is_called() -> None:
    x = torch.full((2, 3, 1, 1), 5.0)
    mean, var = torch.ones(3), torch.ones(3)

    with WithoutBatchNorm():
        answers = [
            nn.BatchNorm2d(3).eval()(x),
            F.batch_norm(input=x, running_mean=mean, running_var=var),
            torch.ops.aten.batch_norm(x, None, None, mean, var, False, 0.1, 1e-5, False),
        ]
        shifted = F.layer_norm(x, (1,))

    assert all(torch.equal(answer, x) for answer in answers)
    assert not shifted.any()
    assert F.batch_norm(x, mean, var).allclose(torch.tensor(4.0))


def test_what_asks_for_float32_gets_float64() -> None:
    with DoublePrecision():
        found = [
            torch.zeros(1, dtype=torch.float32).dtype,
            torch.zeros(1, dtype=torch.float64).to(torch.float32).dtype,
            torch.ops.aten.to.dtype(torch.zeros(1, dtype=torch.float64), torch.float32).dtype,
            torch.zeros(1, dtype=torch.int64).dtype,
        ]

    assert found == [torch.float64] * 3 + [torch.int64]


def kernel(function: object, x: Tensor) -> list[list[float]]:
    codes = ActivationCodes(len(x))
    with torch.no_grad(), BaseTorchFunctionMode(), codes:
        function(x)  # type: ignore[operator]
    found: list[list[float]] = codes.kernel.tolist()
    return found


def test_windows_belong_to_their_images_and_tables_of_positions_to_none() -> None:
    x = torch.tensor([[1.0, -1, 1, 1], [1, 1, -1, 1]])

    assert kernel(F.relu, x) == [[4, 2], [2, 4]]
    assert kernel(lambda x: F.relu(x.reshape(4, 2)), x) == [[4, 2], [2, 4]]
    assert kernel(lambda x: F.relu(torch.ones(3, 7)) * x.sum(), x) == [[0, 0], [0, 0]]
    assert kernel(lambda x: F.relu(x.sum()), x) == [[0, 0], [0, 0]]


def test_the_activations_of_fused_encoder_layers_are_seen() -> None:
    layer = nn.TransformerEncoderLayer(4, 1, dim_feedforward=8, batch_first=True).eval()

    found = kernel(layer, torch.ones(2, 3, 4))

    assert found == [[24, 24], [24, 24]]  # three tokens of eight activations


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 70))
def test_agreements_are_counted_bit_by_bit(seed: int, rows: int, columns: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 2, (rows, columns)).astype(bool)

    counted = [[int((a == b).sum()) for b in codes] for a in codes]

    assert agreements(torch.from_numpy(codes)).tolist() == counted


def test_agreements_are_summed_over_parts_of_many_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "_COLUMNS", 3)
    codes = torch.tensor([[1, 0, 1, 1, 0, 0, 1], [1, 1, 1, 0, 0, 1, 1]]).bool()

    assert agreements(codes).tolist() == [[7, 4], [4, 7]]


def test_a_run_uses_given_parameters_and_copies_of_buffers() -> None:
    norm = nn.BatchNorm2d(1).eval()
    x = torch.tensor([1.0, 3]).reshape(2, 1, 1, 1)
    parameters = {"weight": torch.tensor([2.0]), "bias": torch.tensor([10.0])}

    with modes(norm, batch_statistics=True):
        answer = run(norm, x, parameters)

    assert answer.flatten().tolist() == pytest.approx([8, 12], abs=1e-4)
    assert (norm.running_mean, norm.num_batches_tracked) == (torch.zeros(1), torch.tensor(0))
    assert norm.weight.tolist() == [1]


def test_a_run_in_float64_takes_its_buffers_along() -> None:
    norm = nn.BatchNorm2d(1).eval()
    parameters = leaves(norm, lambda weight: weight.double())

    answer = run(norm, torch.ones(2, 1, 1, 1, dtype=torch.float64), parameters)

    assert answer.dtype == torch.float64
    assert answer.requires_grad
    assert norm.weight.dtype == torch.float32


def test_a_network_must_answer_with_one_tensor() -> None:
    network = nn.Identity()
    network.forward = lambda x: [x]  # type: ignore[method-assign, assignment, return-value]

    with pytest.raises(UsageError, match="answers with a list, not with one tensor"):
        run(network, torch.ones(1))


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_modes_are_given_back_after_errors_too(batch_statistics: bool) -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(), nn.Linear(2, 2).eval())
    before = [part.training for part in network.modules()]
    within = []

    def fail() -> None:
        within.extend(part.training for part in network.modules())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), modes(network, batch_statistics):
        fail()

    assert within == [False, batch_statistics, False, False]
    assert [part.training for part in network.modules()] == before == [True, True, True, False]
