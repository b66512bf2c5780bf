"""Stitches: grids of all sizes, and least squares that agree with the textbook."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backends.model import TensorSpec
from compiler.dissection import Cut
from compiler.stitching import RIDGE, LeastSquares, Stitch, StitchShape, r_squared, resample

sides = st.integers(1, 40)


def shape_of(source: int, target: int) -> StitchShape:
    return StitchShape((2, source, source), (3, target, target))


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(source=st.tuples(sides, sides), target=st.tuples(sides, sides))
@settings(deadline=None)
def test_a_stitch_lands_on_its_targets_grid(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    shape = StitchShape((2, *source), (3, *target))

    y = Stitch(shape)(torch.zeros(2, 2, *source))

    assert tuple(y.shape) == (2, 3, *target)


@given(source=sides, target=sides)
@settings(deadline=None)
def test_a_stitch_strides_wherever_a_stride_lands(source: int, target: int) -> None:
    lands = [k for k in range(2, source + 1) if len(range(0, source, k)) == target]

    shape = shape_of(source, target)

    if source == target:
        assert (shape.kind, shape.stride) == ("pointwise", 1)
    elif lands:
        assert (shape.kind, shape.stride) == ("strided", lands[0])
    else:
        assert (shape.kind, shape.stride) == ("nearest", 1)


@given(source=sides, target=sides)
@settings(deadline=None)
def test_resampling_first_and_multiplying_then_is_the_stitch(source: int, target: int) -> None:
    shape = shape_of(source, target)
    stitch = Stitch(shape)
    x = seeded(2, 2, source, source)

    y = torch.nn.functional.conv2d(resample(x, shape), stitch.conv.weight, stitch.conv.bias)

    assert torch.allclose(stitch(x), y, atol=1e-6)


def test_nearest_repeats_positions() -> None:
    stitch = Stitch(StitchShape((1, 2, 2), (1, 4, 4)))
    stitch.load(torch.tensor([[2.0]]), torch.tensor([1.0]))

    y = stitch(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]))

    rows = [[1, 1, 3, 3], [1, 1, 3, 3], [5, 5, 7, 7], [5, 5, 7, 7]]
    assert y[0, 0].tolist() == [[float(value) for value in row] for row in rows]


def test_striding_keeps_every_second_position() -> None:
    stitch = Stitch(StitchShape((1, 3, 3), (1, 2, 2)))
    stitch.load(torch.tensor([[1.0]]), torch.tensor([0.0]))

    y = stitch(torch.arange(9.0).reshape(1, 1, 3, 3))

    assert y[0, 0].tolist() == [[0.0, 2.0], [6.0, 8.0]]


@pytest.mark.parametrize(
    ("shape", "kind", "macs", "text"),
    [
        (StitchShape((8, 7, 7), (5, 7, 7)), "pointwise", 8 * 5 * 49, "8x7x7>5x7x7"),
        (StitchShape((8, 14, 14), (5, 7, 7)), "strided", 8 * 5 * 49, "8x14x14>5x7x7"),
        (StitchShape((8, 7, 7), (5, 14, 14)), "nearest", 8 * 5 * 49, "8x7x7>5x14x14"),
    ],
)
def test_a_shape_knows_what_it_costs(shape: StitchShape, kind: str, macs: int, text: str) -> None:
    assert (shape.kind, shape.macs, str(shape)) == (kind, macs, text)
    assert shape.params == 45 == sum(p.numel() for p in Stitch(shape).parameters())
    assert shape.input_spec == TensorSpec("x", (1, *shape.source))


def test_a_shape_is_read_from_two_cuts() -> None:
    left = Cut("a", 3, TensorSpec("a", (1, 24, 28, 28)), 8, 0.4)
    right = Cut("b", 5, TensorSpec("b", (1, 40, 14, 14)), 16, 0.5)

    assert StitchShape.between(left, right) == StitchShape((24, 28, 28), (40, 14, 14))


def ridge(x: np.ndarray, y: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """The textbook's closed form, with the intercept taken out by centring."""
    a, b = x - x.mean(0), y - y.mean(0)
    penalty = strength * (a**2).mean() * len(x)
    weight = np.linalg.solve(a.T @ a + penalty * np.eye(x.shape[1]), a.T @ b).T
    return weight, y.mean(0) - weight @ x.mean(0)


@given(
    n=st.integers(5, 60),
    inputs=st.integers(1, 6),
    outputs=st.integers(1, 4),
    strength=st.sampled_from([RIDGE, 0.1, 2.0]),
    offset=st.sampled_from([0.0, 1.0, 1e4]),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_least_squares_is_the_textbooks_ridge_regression(
    n: int, inputs: int, outputs: int, strength: float, offset: float, seed: int
) -> None:
    x = seeded(n, inputs, seed=seed).double() + offset
    y = seeded(n, outputs, seed=seed + 100).double() - offset
    squares = LeastSquares(inputs, outputs)
    squares.add(x, y)

    weight, bias, r2 = squares.solve(strength)

    expected, intercept = ridge(x.numpy(), y.numpy(), strength)
    residual = y.numpy() - x.numpy() @ expected.T - intercept
    spread = y.numpy() - y.numpy().mean(0)
    assert weight.numpy() == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert bias.numpy() == pytest.approx(intercept, rel=1e-6, abs=1e-6)
    assert r2 == pytest.approx(1 - (residual**2).sum() / (spread**2).sum(), abs=1e-6)


@given(
    order=st.permutations(range(30)),
    edges=st.lists(st.integers(1, 29), max_size=4, unique=True).map(sorted),
)
@settings(deadline=None)
def test_neither_order_nor_size_of_batches_changes_the_solution(
    order: list[int], edges: list[int]
) -> None:
    x, y = seeded(30, 4) + 3, seeded(30, 2, seed=1)
    whole, parts = LeastSquares(4, 2), LeastSquares(4, 2)
    whole.add(x, y)
    for chosen in np.split(np.array(order), edges):
        parts.add(x[chosen], y[chosen])

    weight, bias, r2 = parts.solve()

    expected = whole.solve()
    assert parts.n == 30
    assert torch.allclose(weight, expected[0], rtol=1e-9, atol=1e-12)
    assert torch.allclose(bias, expected[1], rtol=1e-9, atol=1e-12)
    assert r2 == pytest.approx(expected[2], abs=1e-12)


def test_a_linear_relation_is_recovered() -> None:
    x, weight, bias = seeded(50, 3), torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([4.0])
    squares = LeastSquares(3, 1)
    squares.add(x, x @ weight.T + bias)

    found = squares.solve(ridge=0.0)

    assert torch.allclose(found[0].float(), weight, atol=1e-5)
    assert torch.allclose(found[1].float(), bias, atol=1e-5)
    assert found[2] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_dead_inputs_predict_the_mean(constant: float) -> None:
    squares = LeastSquares(3, 1)
    squares.add(torch.full((4, 3), constant), torch.tensor([[1.0], [2.0], [3.0], [6.0]]))

    weight, bias, r2 = squares.solve()

    assert weight.tolist() == [[0.0, 0.0, 0.0]]
    assert bias.tolist() == [pytest.approx(3.0)]
    assert r2 == pytest.approx(0.0)


def test_a_constant_target_is_explained_in_full() -> None:
    squares = LeastSquares(2, 1)
    squares.add(seeded(9, 2), torch.full((9, 1), 5.0))

    weight, bias, r2 = squares.solve()

    assert weight.abs().max() == 0.0
    assert bias.tolist() == [5.0]
    assert r2 == 1.0


def test_rounding_never_explains_more_than_all() -> None:
    r2 = r_squared(torch.tensor([1.0 + 1e-6]), torch.tensor([1.0]))

    assert r2 == 1.0
