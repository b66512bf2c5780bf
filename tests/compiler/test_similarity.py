"""Similarity: hand-computed cases, invariances, and the definitions written out."""

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import similarity
from compiler.gram import Float
from compiler.similarity import (
    MinibatchCKA,
    linear_cka,
    linear_regression,
    rbf_cka,
    rbf_gram_of,
)
from targets.errors import UsageError

EXACT = 1e-9
RAMP = np.array([[0.0], [1.0], [2.0], [3.0]])
TEETH = np.array([[0.0], [1.0], [0.0], [1.0]])

MEASURES: dict[str, Callable[[Any, Any], float]] = {
    "linear": linear_cka,
    "unbiased": lambda x, y: linear_cka(x, y, unbiased=True),
    "rbf": rbf_cka,
    "rbf dery": lambda x, y: rbf_cka(x, y, bandwidth="dery"),
    "rbf unbiased": lambda x, y: rbf_cka(x, y, 0.5, unbiased=True),
    "regression": linear_regression,
}
CKAS = [name for name in MEASURES if name != "regression"]
seeds = st.integers(0, 2**32 - 1)


def random_pair(seed: int) -> tuple[Float, Float]:
    """Two related matrices of random sizes, away from the origin."""
    chance = np.random.default_rng(seed)
    samples = int(chance.integers(8, 16))
    x = chance.normal(size=(samples, int(chance.integers(1, 6)))) + chance.normal()
    noise = chance.normal(size=(samples, int(chance.integers(1, 6))))
    return x, x[:, :1] ** 2 + noise


def rotation(size: int, seed: int) -> Float:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def hsic_1(k: Float, m: Float) -> float:
    """Song et al. 2012, equation 4, term by term."""
    n = len(k)
    k, m = (matrix - np.diag(matrix.diagonal()) for matrix in (k, m))
    trace = float((k * m.T).sum())
    sums = float(k.sum() * m.sum()) / ((n - 1) * (n - 2))
    rows = 2 / (n - 2) * float(k.sum(1) @ m.sum(1))
    return (trace + sums - rows) / (n * (n - 3))


def gaussian(x: Float, sigma2: float) -> Float:
    distances = ((x[:, None] - x[None]) ** 2).sum(2)
    return np.exp(-distances / (2 * sigma2))


def test_linear_cka_of_single_channels_is_their_squared_correlation() -> None:
    # Centred: (-3, -1, 1, 3) / 2 and (-1, 1, -1, 1) / 2. Products: 1, with themselves 5 and 1.
    assert linear_cka(RAMP, TEETH) == pytest.approx(1 / 5, abs=EXACT)


def test_linear_cka_of_several_channels_weighs_them_by_their_variance() -> None:
    # Centred columns of x: a = (-1, -1, 1, 1), 2 b with b = (-1, 1, -1, 1); y: a. a and b are
    # orthogonal and of squared length 4: |X'X|^2 = 16 + 256, |Y'Y|^2 = 16, |X'Y|^2 = 16.
    a, b = np.array([-1.0, -1, 1, 1]), np.array([-1.0, 1, -1, 1])

    found = linear_cka(np.stack([a + 7, 2 * b], 1), (a - 5)[:, None])

    assert found == pytest.approx(16 / math.sqrt(272 * 16), abs=EXACT)


def test_unbiased_linear_cka_by_hand() -> None:
    # K without its diagonal: k23 = 2, k24 = 3, k34 = 6; rows sum to 0, 5, 8, 9. L: l24 = 1 alone.
    # HSIC(K, L) = (6 + 22 * 2 / 6 - 14) / 4 = -1 / 6, HSIC(K, K) = (98 + 22^2 / 6 - 170) / 4 =
    # 13 / 6, HSIC(L, L) = (2 + 2^2 / 6 - 2) / 4 = 1 / 6.
    assert linear_cka(RAMP, TEETH, unbiased=True) == pytest.approx(-1 / math.sqrt(13), abs=EXACT)


def test_rbf_cka_by_hand() -> None:
    # Each has two groups, one distance and therefore K = e + (1 - e) [same group] with e =
    # exp(-1/2): centred, that is linear CKA of the groups. Correlation: (1/3) / (2/3) = 1/2.
    x, y = np.array([[0.0], [0], [1]]), np.array([[0.0], [1], [1]])

    assert rbf_cka(x, y) == pytest.approx(1 / 4, abs=EXACT)


@pytest.mark.parametrize(
    ("bandwidth", "scale", "x_sigma2", "y_sigma2"),
    [
        # Squared distances of x: 1, 1, 4, 9, 9, 16; of y: 1, 1, 1, 4, 4, 9.
        ("median", 1.0, 6.5, 2.5),
        ("median", 0.5, 6.5 / 4, 2.5 / 4),
        # With every pair twice and four zeros the lower of the middle two is the eighth.
        ("dery", 1.0, 1.0, 1.0),
        ("dery", 2.0, 4.0, 4.0),
        (1.5, 2.0, 9.0, 9.0),
    ],
)
def test_bandwidths_are_as_documented(
    bandwidth: Any, scale: float, x_sigma2: float, y_sigma2: float
) -> None:
    x, y = np.array([[0.0], [1.0], [4.0], [3.0]]), np.array([[0.0], [1.0], [3.0], [2.0]])
    k, m = gaussian(x, x_sigma2), gaussian(y, y_sigma2)

    found = rbf_cka(x, y, scale, bandwidth, unbiased=True)

    expected = hsic_1(k, m) / math.sqrt(hsic_1(k, k) * hsic_1(m, m))
    assert found == pytest.approx(expected, abs=EXACT)


def test_linear_regression_explains_x_by_y_about_their_means() -> None:
    # x has 2 a, of squared length 16, which y spans, and b, of squared length 4, which it does not.
    a, b = np.array([-1.0, -1, 1, 1]), np.array([-1.0, 1, -1, 1])
    x, y = np.stack([2 * a + 10, b], 1), a[:, None] + 3

    assert linear_regression(RAMP, TEETH) == pytest.approx(1 / 5, abs=EXACT)
    assert linear_regression(x, y) == pytest.approx(16 / 20, abs=EXACT)
    assert linear_regression(y, x) == pytest.approx(1, abs=EXACT)


def test_channels_that_depend_on_each_other_explain_no_more() -> None:
    x, y = random_pair(1)
    more = np.concatenate([y, y[:, :1] - 2, y @ np.ones((y.shape[1], 2))], 1)

    assert linear_regression(x, more) == pytest.approx(linear_regression(x, y), abs=EXACT)


def test_with_more_channels_than_samples_only_the_unbiased_estimate_tells_noise() -> None:
    chance = np.random.default_rng(0)
    x, y = chance.normal(size=(2, 60, 900))

    assert linear_cka(x, y) > 0.9
    assert abs(linear_cka(x, y, unbiased=True)) < 0.1
    assert linear_regression(x, y) == pytest.approx(1, abs=EXACT)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_the_definitions_hold(seed: int) -> None:
    x, y = random_pair(seed)
    h = np.eye(len(x)) - 1 / len(x)
    k, m = h @ x @ x.T @ h, h @ y @ y.T @ h
    inside = h @ y @ np.linalg.pinv(h @ y)

    biased, unbiased = linear_cka(x, y), linear_cka(x, y, unbiased=True)

    norms = np.linalg.norm(k) * np.linalg.norm(m)
    by_song = hsic_1(x @ x.T, y @ y.T) / math.sqrt(hsic_1(x @ x.T, x @ x.T) * hsic_1(m, m))
    assert biased == pytest.approx(float((k * m).sum()) / norms, abs=EXACT)
    assert unbiased == pytest.approx(by_song, abs=EXACT)
    explained = np.linalg.norm(inside @ x) ** 2 / np.linalg.norm(h @ x) ** 2
    assert linear_regression(x, y) == pytest.approx(float(explained), abs=EXACT)


@pytest.mark.parametrize("name", MEASURES)
@given(seeds, st.floats(1e-6, 1e6), st.floats(-1e3, 1e3, allow_subnormal=False))
@settings(max_examples=15, deadline=None)
def test_rotating_scaling_and_shifting_change_nothing(
    name: str, seed: int, scale: float, shift: float
) -> None:
    x, y = random_pair(seed)
    measure = MEASURES[name]

    moved = measure(
        scale * (x @ rotation(x.shape[1], seed)), y @ rotation(y.shape[1], seed + 1) + shift
    )

    assert moved == pytest.approx(measure(x, y), abs=1e-7)


@pytest.mark.parametrize("name", CKAS)
@given(seeds)
@settings(max_examples=15, deadline=None)
def test_cka_is_symmetric_bounded_and_one_with_itself(name: str, seed: int) -> None:
    x, y = random_pair(seed)
    measure = MEASURES[name]

    found = measure(x, y)

    assert found == pytest.approx(measure(y, x), abs=EXACT)
    assert measure(x, x) == pytest.approx(1, abs=EXACT)
    assert (-1 if "unbiased" in name else 0) - EXACT <= found <= 1 + EXACT


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_regression_does_not_depend_on_how_y_is_written(seed: int) -> None:
    x, y = random_pair(seed)
    mixing = rotation(y.shape[1], seed) * np.linspace(1, 9, y.shape[1])

    assert linear_regression(x, y @ mixing) == pytest.approx(linear_regression(x, y), abs=1e-8)
    assert linear_regression(y, y) == pytest.approx(1, abs=EXACT)


@pytest.mark.parametrize("unbiased", [False, True])
def test_many_samples_are_compared_by_channels_with_the_same_answer(
    unbiased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(0)
    x = chance.normal(size=(60, 3)) + 4
    y = x[:, :2] ** 2 + chance.normal(size=(60, 2))
    by_samples = linear_cka(x, y, unbiased)

    monkeypatch.setattr(similarity, "_GRAM_SAMPLES", 50)

    assert linear_cka(x, y, unbiased) == pytest.approx(by_samples, abs=EXACT)


def test_numbers_of_any_size_and_type_can_be_compared() -> None:
    huge, tiny = RAMP * 1e300, TEETH.astype(np.float32) * np.float32(1e-30)

    assert linear_cka(huge, tiny) == pytest.approx(1 / 5, abs=1e-6)
    assert rbf_cka(huge, huge) == pytest.approx(1, abs=EXACT)
    assert linear_regression(RAMP.astype(int).tolist(), TEETH) == pytest.approx(0.2, abs=EXACT)


@pytest.mark.parametrize("gram", ["linear", "rbf"])
def test_the_unbiased_estimate_of_all_samples_is_the_average_over_all_batches(gram: str) -> None:
    chance = np.random.default_rng(0)
    x, y = chance.normal(size=(6, 2)), chance.normal(size=(6, 3))
    kernel = {"linear": {}, "rbf": {"gram": rbf_gram_of(1.5)}}[gram]
    whole, batches = MinibatchCKA(**kernel), MinibatchCKA(**kernel)
    whole.add(x, y)

    for chosen in combinations(range(6), 4):
        batches.add(x[list(chosen)], y[list(chosen)])

    assert batches.value == pytest.approx(whole.value, abs=EXACT)


def test_batches_count_by_their_samples() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 15, 4))
    parts = [slice(0, 4), slice(4, 15)]
    stream = MinibatchCKA()

    for part in parts:
        stream.add(x[part], y[part])

    def average(a: Float, b: Float) -> float:
        return sum(len(a[p]) / 15 * hsic_1(a[p] @ a[p].T, b[p] @ b[p].T) for p in parts)

    expected = average(x, y) / math.sqrt(average(x, x) * average(y, y))
    assert stream.value == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (RAMP, TEETH[:3], "x has 4 samples and y has 3: give both the same samples"),
        (RAMP[:1], TEETH[:1], "All 1 samples of x are the same"),
        (RAMP, TEETH * 0 + 0.1, "All 4 samples of y are the same, so nothing is similar to it"),
        (RAMP * np.nan, TEETH, "x has 4 entries that are not finite"),
        (RAMP, np.where(RAMP == 3, np.inf, TEETH), "y has 1 entries that are not finite"),
        (RAMP[:, 0], TEETH, r"x has the shape \(4,\) and the type float64"),
        (RAMP, TEETH.astype(str), "must be a matrix of real numbers"),
        (RAMP[:, :0], TEETH, r"x has the shape \(4, 0\)"),
    ],
)
@pytest.mark.parametrize("name", MEASURES)
def test_what_cannot_be_compared_is_said(name: str, x: Float, y: Float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MEASURES[name](x, y)


@pytest.mark.parametrize("measure", [linear_cka, rbf_cka])
def test_the_unbiased_estimate_needs_four_samples(measure: Callable[..., float]) -> None:
    with pytest.raises(UsageError, match="3 samples are too few: this estimate needs at least 4"):
        measure(RAMP[:3], TEETH[:3], unbiased=True)


def test_samples_that_differ_in_one_alone_have_no_unbiased_estimate() -> None:
    lone = np.array([[0.0], [0.0], [0.0], [1.0]])

    assert linear_cka(lone, RAMP) == pytest.approx(0.6, abs=EXACT)
    with pytest.raises(UsageError, match=r"The features of x are the same .* or for all but one"):
        linear_cka(lone, RAMP, unbiased=True)


@pytest.mark.parametrize(
    ("bandwidth", "scale", "message"),
    [
        ("dery", 1.0, "So many samples of y are alike that their median distance is 0"),
        ("mean", 1.0, "Bandwidth 'mean' is not known. Use 'median', 'dery' or a number"),
        (0.0, 1.0, "A bandwidth of 0.0 at scale 1.0"),
        ("median", -1.0, "a positive scale"),
    ],
)
def test_bandwidths_that_are_none_are_said(bandwidth: Any, scale: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rbf_cka(RAMP, TEETH, scale, bandwidth)


def test_a_stream_without_batches_has_no_value() -> None:
    with pytest.raises(UsageError, match=r"no similarity without samples\. Add a batch first"):
        _ = MinibatchCKA().value
