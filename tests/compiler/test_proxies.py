"""Zero-cost proxies: values worked out by hand, laws, and networks that stay as they were."""

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from compiler.graph import aten_graph
from compiler.proxies import (
    PROXIES,
    get_proxy,
    grad_norm,
    jacov,
    naswot,
    naswot_score,
    snip,
    synflow,
)
from targets.errors import DataError, UnknownNameError, UsageError

LN2 = math.log(2)
SIGNS = torch.tensor([[1.0, -1, 1], [1, 1, -1]]).reshape(2, 3, 1, 1)
"""Two images whose codes agree in one of three bits: K is [[3, 1], [1, 3]], its determinant 8."""


def pixels(batch: int = 4, size: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


class Functional(nn.Module):
    """One function of the image, flattened: the logits are what it gives."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x).flatten(1)


class Net(nn.Module):
    """Batch-norm, dropout, a frozen layer, a gradient at hand, and parts in different modes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.deep = nn.Conv2d(6, 6, 3, 2, 1, groups=2)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.drop(self.norm(self.conv(x))))
        y: Tensor = self.head(F.gelu(self.deep(x)).mean((2, 3)))
        return y


def net(seed: int = 0) -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Net()
    made.conv.requires_grad_(False)
    made.head.weight.grad = torch.ones_like(made.head.weight)
    made.drop.eval()
    return made


def linear(weights: list[list[float]], *before: nn.Module) -> nn.Sequential:
    head = nn.Linear(len(weights[0]), len(weights), bias=False)
    head.weight.data = torch.tensor(weights)
    return nn.Sequential(*before, nn.Flatten(), head)


def conv(weight: float) -> nn.Conv2d:
    made = nn.Conv2d(1, 1, 1, bias=False)
    made.weight.data.fill_(weight)
    return made


# naswot


@pytest.mark.parametrize(
    ("codes", "log_determinant"),
    [
        ([[[1, 0, 1], [1, 1, 0]]], math.log(8)),  # K = [[3, 1], [1, 3]]
        ([[[1, 0, 1], [1, 1, 0]], [[1], [0]]], math.log(15)),  # K = [[4, 1], [1, 4]]
        ([[[0, 0], [0, 1], [1, 1]]], math.log(4)),  # K = [[2, 1, 0], [1, 2, 1], [0, 1, 2]]
        ([[[1, 1, 1, 0, 0]]], math.log(5)),  # one image: K = [[5]]
        ([[[True, False], [False, True]]], math.log(4)),  # K = [[2, 0], [0, 2]]
    ],
)
def test_naswot_is_the_log_determinant_of_the_agreements_divided_by_the_images(
    codes: list[list[list[int]]], log_determinant: float
) -> None:
    images = len(codes[0])
    arrays = [np.array(code) for code in codes]

    assert naswot(codes) == pytest.approx(log_determinant / images, abs=1e-12)
    assert naswot(arrays) == naswot([torch.tensor(code) for code in codes]) == naswot(codes)
    assert naswot(arrays, per_image=False) == pytest.approx(log_determinant, abs=1e-12)


@st.composite
def bits(draw: st.DrawFn) -> np.ndarray:
    """(B, d) random codes, B at least 2."""
    seed, images = draw(st.integers(0, 10**6)), draw(st.integers(2, 6))
    return np.random.default_rng(seed).integers(0, 2, (images, draw(st.integers(1, 200))))


@given(bits(), st.integers(0, 10**6))
def test_naswot_does_not_ask_for_an_order_of_images_or_bits_nor_which_bit_is_one(
    codes: np.ndarray, seed: int
) -> None:
    random = np.random.default_rng(seed)
    shuffled = codes[random.permutation(len(codes))][:, random.permutation(codes.shape[1])]
    flipped = codes ^ random.integers(0, 2, codes.shape[1])
    split = np.array_split(codes, [codes.shape[1] // 2, codes.shape[1] // 2 + 1], axis=1)

    score = naswot([codes])

    assert naswot([shuffled]) == pytest.approx(score, abs=1e-9)
    assert naswot([flipped]) == pytest.approx(score, abs=1e-9)
    assert naswot([part for part in split if part.size]) == pytest.approx(score, abs=1e-9)
    assert score <= math.log(codes.shape[1]) + 1e-9


@given(bits())
def test_equal_images_have_the_score_minus_infinity(codes: np.ndarray) -> None:
    assert naswot([np.concatenate([codes, codes[:1]])]) == -math.inf


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([], r"must be matrices .* these are \[\]"),
        ([[0, 1]], r"these are \[\(2,\)\]"),
        ([[[0, 1]], [[0], [1]]], r"these are \[\(1, 2\), \(2, 1\)\]\. Flatten"),
        ([[[0, 2]]], r"zeros and ones\. Compare"),
        ([[[0.5, 1]]], r"zeros and ones\. Compare"),
    ],
)
def test_codes_that_are_none_are_refused(codes: list[list[list[float]]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        naswot(codes)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu_(x + 0),
    "torch.relu": torch.relu,
    "method": lambda x: x.relu(),
    "clamp-like": F.relu6,
    "hardtanh in place": lambda x: F.hardtanh_(x + 0, 0.0, 6.0),
    "leaky_relu": F.leaky_relu,
    "rrelu": F.rrelu,
    "prelu": partial(F.prelu, weight=torch.tensor([0.25])),
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu by tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "silu in place": lambda x: F.silu(x + 0, inplace=True),
    "hardswish": F.hardswish,
    "mish": F.mish,
    "module in place": lambda x: nn.ReLU(inplace=True)(x + 0),
    "module": nn.GELU(),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_seen_as_a_module_and_as_a_function(name: str) -> None:
    assert naswot_score(Functional(ACTIVATIONS[name]), SIGNS) == pytest.approx(math.log(8) / 2)


@pytest.mark.parametrize(
    "function", [torch.sigmoid, F.hardsigmoid, torch.tanh, lambda x: x.softmax(1), nn.Dropout(0.0)]
)
def test_gates_and_linear_outputs_are_no_activations(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(
        UsageError, match=r"no activation that naswot knows .* 'jacov' or 'synflow'"
    ):
        naswot_score(linear([[1.0, 2, 3]], Functional(function)), SIGNS)


def test_codes_of_all_activations_of_a_network_add_up() -> None:
    network = nn.Sequential(nn.ReLU(), Functional(lambda x: F.gelu(-x)), nn.Flatten())

    # Behind ReLU nothing is positive after the minus: GELU gives three more bits alike.
    assert naswot_score(network, SIGNS) == pytest.approx(math.log(6 * 6 - 4 * 4) / 2)


def test_naswot_sees_batch_norms_normalize_by_the_batch() -> None:
    norm = nn.BatchNorm2d(3)
    norm.running_mean = torch.full((3,), 1e6)  # with it no code would be one
    network = nn.Sequential(norm, nn.ReLU(), nn.Flatten()).eval()

    assert naswot_score(network, SIGNS) == pytest.approx(math.log(8) / 2)


# jacov


class HalfSquare(nn.Module):
    """Its gradient by the image is the image."""

    def forward(self, x: Tensor) -> Tensor:
        return (x**2 / 2).flatten(1)


@pytest.mark.parametrize(
    ("rows", "eigenvalues"),
    [
        ([[1.0, -1, 0], [1, 1, -2]], [1, 1]),  # uncorrelated
        ([[1.0, -1, 0], [2, -2, 0]], [0, 2]),  # correlation 1
        ([[1.0, -1, 0], [1, 0, -1]], [0.5, 1.5]),  # correlation 1/2
        ([[1.0, -1, 0], [7, 7, 7]], [1, 1]),  # one without variance
    ],
)
def test_jacov_is_the_spread_of_the_correlations_of_gradients(
    rows: list[list[float]], eigenvalues: list[float]
) -> None:
    images = torch.tensor(rows).reshape(2, 3, 1, 1)

    expected = -sum(math.log(v + 1e-5) + 1 / (v + 1e-5) for v in eigenvalues)
    assert jacov(HalfSquare(), images) == pytest.approx(expected, rel=1e-6)


def test_jacov_of_images_without_correlation_is_minus_their_number() -> None:
    images = torch.tensor([[1.0, -1, 0], [1, 1, -2]]).reshape(2, 3, 1, 1)

    assert jacov(HalfSquare(), images) == pytest.approx(-2.0000000001, abs=1e-12)


@given(st.integers(0, 1000), st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_jacov_does_not_see_the_scale_of_the_logits_or_the_order_of_images(
    seed: int, scale: float
) -> None:
    images = pixels(5, 8, seed)
    network = net(seed)
    before = jacov(network, images)
    network.head.weight.data *= scale

    assert jacov(network, images.flip(0)) == pytest.approx(before, rel=1e-3)


# grad_norm, snip

ROWS = torch.tensor([1.0, -1]).reshape(2, 1, 1, 1)
"""With the weights (ln 2, 0) the first class has probability 2/3 and 1/3."""


def test_grad_norm_is_the_sum_of_the_norms_of_the_weights_gradients() -> None:
    labels = torch.tensor([0, 0])

    one = grad_norm(linear([[LN2], [0]]), ROWS, labels)
    two = grad_norm(linear([[LN2 / 2], [0]], conv(2)), ROWS, labels)

    # dL/dW = (1/6, -1/6); with the convolution dL/dW = (1/3, -1/3) and dL/dc = ln 2 / 12.
    assert one == pytest.approx(2**0.5 / 6, rel=1e-6)
    assert two == pytest.approx(2**0.5 / 3 + LN2 / 12, rel=1e-6)


def test_snip_is_the_sum_of_weights_times_gradients() -> None:
    labels = torch.tensor([0, 0])

    assert snip(linear([[LN2], [0]]), ROWS, labels) == pytest.approx(LN2 / 6, rel=1e-6)
    assert snip(linear([[LN2 / 2], [0]], conv(2)), ROWS, labels) == pytest.approx(LN2 / 3, rel=1e-6)


def test_biases_and_norms_do_not_count() -> None:
    class Only(nn.Module):
        """Batch-norm and a free parameter: no convolution, no linear layer."""

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.position = nn.Parameter(torch.ones(1, 3, 4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return (self.norm(x) + self.position).mean((2, 3))

    labels = [torch.tensor([0, 1, 2, 0])]

    scores = {n: PROXIES[n](Only(), [pixels(4, 4)], labels) for n in ("grad_norm", "snip")}

    assert scores == {"grad_norm": 0.0, "snip": 0.0}
    assert synflow(Only(), pixels(4, 4)) == 0.0


@pytest.mark.parametrize("name", ["grad_norm", "snip"])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"needs labels, and the images have none\. .* 'naswot', 'jacov' or 'synflow'"),
        (torch.tensor([0, 2]), r"2 class numbers from 0 to 1, one an image; these are \[0, 2\]"),
        (torch.tensor([-1, 0]), r"these are \[-1, 0\]"),
        (torch.tensor([0]), r"these are \[0\]"),
    ],
)
def test_labels_that_are_missing_or_of_another_task_are_refused(
    name: str, labels: Tensor | None, message: str
) -> None:
    batches = None if labels is None else [labels]

    with pytest.raises(DataError, match=message):
        PROXIES[name](linear([[LN2], [0]]), [ROWS], batches)


# synflow


@pytest.mark.parametrize(
    "between", [[], [nn.ReLU()], [nn.BatchNorm2d(1)], [nn.BatchNorm2d(1), nn.ReLU6()]]
)
def test_synflow_is_the_flow_through_absolute_weights_once_a_layer(
    between: list[nn.Module],
) -> None:
    network = linear([[3.0], [-4]], conv(-0.5), *between)

    # One pixel of one: R = 0.5 (3 + 4), and both layers carry all of it.
    assert synflow(network, torch.zeros(5, 1, 1, 1)) == pytest.approx(2 * 3.5, rel=1e-12)


@given(st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_every_layer_of_a_network_of_relus_conserves_the_flow(seed: int, depth: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(depth)]
        parts = [part for layer in layers for part in (layer, nn.BatchNorm2d(3), nn.ReLU())]
        network = nn.Sequential(*parts, nn.Flatten(), nn.Linear(3 * 16, 2, bias=False))

    x = torch.ones(1, 3, 4, 4, dtype=torch.float64)
    for layer in layers:
        x = F.conv2d(x, layer.weight.double().abs(), padding=1)
    flow = float((x.flatten(1) @ network[-1].weight.double().abs().T).sum().detach())
    assert synflow(network, pixels(2, 4)) == pytest.approx((depth + 1) * flow, rel=1e-9)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_synflow_sees_no_picture_and_no_sign(seed: int) -> None:
    one, other = net(seed), net(seed)
    other.deep.weight.data *= -1

    assert synflow(one, pixels(2, 16, seed)) == synflow(other, pixels(5, 16, seed + 1))


# all of them


@cache
def family(name: str) -> tuple[nn.Module, nn.Module, int]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        donor = timm.create_model(name, num_classes=10).eval()
    size = donor.pretrained_cfg["input_size"][-1]
    return donor, aten_graph(donor, size, name), size


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_vit", "test_nfnet"])
def test_a_graph_has_the_score_of_the_network_it_was_exported_from(
    name: str, architecture: str
) -> None:
    donor, graph, size = family(architecture)
    batches, labels = [pixels(3, size)], [torch.tensor([3, 1, 4])]

    score = PROXIES[name](donor, batches, labels)

    assert PROXIES[name](graph, batches, labels) == pytest.approx(score, rel=1e-6)
    assert math.isfinite(score)


@pytest.mark.parametrize("name", PROXIES)
def test_batches_are_scored_by_themselves_and_averaged(name: str) -> None:
    score = PROXIES[name]
    a, b = pixels(4, seed=1), pixels(3, seed=2)
    of_a, of_b = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 0, 1])

    alone = [score(net(), [a], [of_a]), score(net(), [b], [of_b])]

    assert score(net(), [a, b], [of_a, of_b]) == pytest.approx(sum(alone) / 2, rel=1e-12)
    assert score(net(), [a] * 5, [of_a] * 5) == pytest.approx(alone[0], rel=1e-12)


def trace(network: nn.Module) -> list[object]:
    """Everything that must stay, as bytes and identities."""
    state = {key: tensor.clone().numpy().tobytes() for key, tensor in network.state_dict().items()}
    hooks = [(len(m._forward_hooks), len(m._backward_hooks)) for m in network.modules()]
    return [
        state,
        hooks,
        [m.training for m in network.modules()],
        [(id(p), p.requires_grad, id(p.grad), p._version) for p in network.parameters()],
        [g.clone().numpy().tobytes() for p in network.parameters() if (g := p.grad) is not None],
        torch.get_rng_state().numpy().tobytes(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("grad", [True, False])
def test_scoring_leaves_the_network_as_it_was_and_gives_the_same_again(
    name: str, grad: bool
) -> None:
    network, images, labels = net(), pixels(), torch.tensor([0, 1, 2, 3])

    with torch.set_grad_enabled(grad):
        before = trace(network)
        first = PROXIES[name](network, [images], [labels])
        after = trace(network)
        again = PROXIES[name](network, [images], [labels])

    assert after == before
    assert again == first
    assert torch.equal(images, pixels())
    assert not images.requires_grad


class Failing(Net):
    """It breaks after its batch-norm has run."""

    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        raise RuntimeError("broken inside")


@pytest.mark.parametrize("name", PROXIES)
def test_scoring_leaves_a_network_that_fails_as_it_was(name: str) -> None:
    network = Failing()
    before = trace(network)

    with pytest.raises(RuntimeError, match="broken inside"):
        PROXIES[name](network, [pixels()], [torch.zeros(4, dtype=torch.int64)])

    assert trace(network) == before


@pytest.mark.parametrize("name", PROXIES)
def test_dropout_is_off_and_batch_norms_are_asked_for_no_running_statistics(name: str) -> None:
    one, other = net().train(), net().eval()
    other.norm.running_mean = torch.full((6,), 100.0)
    labels = [torch.tensor([0, 1, 2, 3])]

    assert PROXIES[name](one, [pixels()], labels) == PROXIES[name](other, [pixels()], labels)


@pytest.mark.parametrize("name", PROXIES)
def test_equal_images_have_a_documented_score(name: str) -> None:
    images = pixels(1).repeat(3, 1, 1, 1)

    score = PROXIES[name](net(), [images], [torch.tensor([0, 1, 2])])

    assert score == -math.inf if name == "naswot" else math.isfinite(score)


@pytest.mark.parametrize("name", PROXIES)
def test_batches_that_cannot_be_scored_are_refused(name: str) -> None:
    proxy = PROXIES[name]
    flat = torch.zeros(2, 3)

    with pytest.raises(UsageError, match=f"'{name}' needs at least one batch"):
        proxy(net(), [])
    with pytest.raises(UsageError, match=r"this one is torch.float32 \(2, 3\)"):
        proxy(net(), [flat], [torch.tensor([0, 1])])
    with pytest.raises(UsageError, match=r"this one is torch.uint8 \(4, 3, 16, 16\)"):
        proxy(net(), [pixels().byte()], [torch.zeros(4)])
    with pytest.raises(DataError, match="2 batches of images have 1 batches of labels"):
        proxy(net(), [pixels(), pixels()], [torch.zeros(4)])


@pytest.mark.parametrize("name", ["naswot", "jacov", "grad_norm", "snip"])
def test_one_image_is_no_batch(name: str) -> None:
    with pytest.raises(UsageError, match=r"at least 2 images; .* Give larger batches"):
        PROXIES[name](net(), [pixels(1)], [torch.zeros(1)])


@pytest.mark.parametrize("name", PROXIES)
def test_a_network_of_several_answers_is_refused(name: str) -> None:
    network = net()
    network.forward = lambda x: (x, x)  # type: ignore[method-assign, assignment, return-value]

    with pytest.raises(UsageError, match="answers with a tuple, not with one tensor"):
        PROXIES[name](network, [pixels()], [torch.zeros(4)])


@pytest.mark.parametrize("name", ["grad_norm", "snip", "synflow"])
def test_a_score_that_is_no_number_is_refused(name: str) -> None:
    network = net()
    network.head.weight.data.fill_(math.nan)

    with pytest.raises(UsageError, match=f"'{name}' gives this network no finite score"):
        PROXIES[name](network, [pixels()], [torch.zeros(4)])


def test_proxies_are_found_by_name() -> None:
    assert list(PROXIES) == ["grad_norm", "jacov", "naswot", "snip", "synflow"]
    assert get_proxy("naswot").score_batch is naswot_score
    assert [name for name, proxy in PROXIES.items() if proxy.needs_labels] == ["grad_norm", "snip"]
    with pytest.raises(
        UnknownNameError, match=r"zero-cost proxy 'nasswot'\. Did you mean 'naswot'"
    ):
        get_proxy("nasswot")
