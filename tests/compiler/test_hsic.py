"""HSIC of all pairs: what the pairs give one by one, however they are computed."""

import tracemalloc
from itertools import product
from typing import Any

import numpy as np
import pytest

from compiler.gram import Float, linear_gram, rbf_gram
from compiler.hsic import HsicTable, inner_products, normalized
from compiler.similarity import linear_cka, rbf_cka, rbf_gram_of
from targets.errors import UsageError

NAMES = ("a", "b", "c")
EXACT = 1e-9


def features(samples: int = 13, seed: int = 0) -> list[Float]:
    chance = np.random.default_rng(seed)
    hidden = chance.normal(size=(samples, 2)) + 3
    return [
        hidden @ chance.normal(size=(2, d)) + chance.normal(size=(samples, d)) for d in (1, 4, 9)
    ]


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("memory", [1, 8 * 3 * 13 * 4, 2**20])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_table_holds_the_cka_of_every_pair(kernel: str, memory: int, unbiased: bool) -> None:
    parts = features()
    gram = linear_gram if kernel == "linear" else rbf_gram_of("dery", 0.7)
    table = HsicTable(NAMES, unbiased, gram, memory=memory)

    table.add(parts)

    for i, j in product(range(3), repeat=2):
        linear = linear_cka(parts[i], parts[j], unbiased)
        by_pair = (
            linear if kernel == "linear" else rbf_cka(parts[i], parts[j], 0.7, "dery", unbiased)
        )
        assert table.cka[i, j] == pytest.approx(by_pair, abs=EXACT)
    assert np.array_equal(table.cka, table.cka.T)
    assert table.cka.diagonal().tolist() == [1.0, 1.0, 1.0]
    assert table.samples == 13


@pytest.mark.parametrize("unbiased", [False, True])
def test_centred_matrices_are_those_of_the_definition(unbiased: bool) -> None:
    x = features()[1]
    n = len(x)
    k = x @ x.T
    if unbiased:
        np.fill_diagonal(k, 0)
        rows = k.sum(1) / (n - 2)
        expected = k - rows[:, None] - rows + k.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(expected, 0)
    else:
        h = np.eye(n) - 1 / n
        expected = h @ k @ h
    gram, found = linear_gram(x, unbiased), np.empty((5, n - 3))

    gram.fill(found, 3)

    assert np.allclose(found, expected[3:8, 3:], atol=EXACT)
    assert gram.trace == pytest.approx(((x - x.mean(0)) ** 2).sum())


def test_the_gaussian_trace_is_that_of_the_centred_matrix() -> None:
    gram = rbf_gram(features()[1])
    whole = np.empty((13, 13))

    gram.fill(whole, 0)

    assert gram.trace == pytest.approx(whole.trace())
    assert np.allclose(whole.sum(0), 0)


def test_batches_are_averaged_before_the_ratio_or_after_it() -> None:
    first, second = features(8, 1), features(8, 2)
    averaged, as_dery = HsicTable(NAMES, False), HsicTable(NAMES, False, average="cka")

    for table in (averaged, as_dery):
        table.add(first)
        table.add(second)

    ckas = [linear_cka(batch[0], batch[1]) for batch in (first, second)]
    assert as_dery.cka[0, 1] == pytest.approx(sum(ckas) / 2, abs=EXACT)
    assert averaged.cka[0, 1] != pytest.approx(sum(ckas) / 2, abs=1e-3)


def test_progress_counts_the_samples_of_the_batch() -> None:
    done: list[int] = []

    inner_products([linear_gram(x) for x in features()], memory=1, progress=done.append)

    assert done == [1, 2, 3, 4, 5, 6, 7, 9, 12, 13]  # fewer columns are left, more rows fit


def test_memory_does_not_grow_with_the_number_of_batches() -> None:
    peaks = []
    for batches in (2, 20):
        table = HsicTable(NAMES, memory=2**16)
        tracemalloc.start()
        for seed in range(batches):
            table.add(features(100, seed))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.1 * peaks[0]


def test_gram_rows_are_held_within_the_memory_that_was_given() -> None:
    grams = [linear_gram(x) for x in features(400)]
    tracemalloc.start()

    inner_products(grams, memory=2**18)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2**18 < 3 * 400 * 400 * 8


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (features()[:2], "2 features for a table of 3: give one for each"),
        ([*features()[:2], features()[2][:5]], r"different numbers of samples \(5 and 13\)"),
        (features(3), r"features of a have the shape \(3, 1\). .* at least 4 samples"),
        ([*features()[:2], features()[2][:, 0]], r"features of c have the shape \(13,\)"),
        (
            [*features()[:2], features()[2] * np.inf],
            "features of c hold numbers that are not finite",
        ),
        ([*features()[:2], features()[2] * 1e200], "or too large to square"),
    ],
)
def test_batches_that_do_not_fit_are_refused(parts: list[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        HsicTable(NAMES).add(parts)


def test_features_that_never_vary_are_named() -> None:
    a, b, c = features()
    table = HsicTable(NAMES)
    table.add([a, np.full_like(b, 0.1), c])
    several = HsicTable(NAMES)
    several.add([a, np.full_like(b, 0.1), np.full_like(c, -7)])

    with pytest.raises(UsageError, match="features of b are the same for all samples, or for all"):
        _ = table.cka
    with pytest.raises(UsageError, match="so nothing is similar to them, and 1 others like it"):
        _ = several.cka


def test_a_batch_in_which_nothing_varies_counts_as_nothing_alike() -> None:
    parts = features(8)
    table = HsicTable(NAMES)
    table.add(parts)
    before = table.cka

    table.add([np.ones_like(x) for x in parts])

    assert np.allclose(table.cka, before, atol=EXACT)
    assert np.allclose(table.hsic * 2, _hsic(parts), atol=EXACT)


def _hsic(parts: list[Float]) -> Float:
    table = HsicTable(NAMES)
    table.add(parts)
    return table.hsic


def test_numbers_that_are_not_finite_are_not_taken_for_similarity() -> None:
    with pytest.raises(UsageError, match="features of a"):
        normalized(np.array([[np.nan]]), np.ones(1), ["a"])
