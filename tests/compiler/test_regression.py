"""Regression of all pairs: what the pairs give one by one, from batches."""

import tracemalloc

import numpy as np
import pytest

from compiler import regression
from compiler.gram import Float
from compiler.regression import check_samples, regression_table
from compiler.similarity import linear_regression
from targets.errors import UsageError

NAMES = ("a", "b", "c")


def features(samples: int = 60) -> list[Float]:
    chance = np.random.default_rng(0)
    hidden = chance.normal(size=(samples, 4))
    found = [
        hidden @ chance.normal(size=(4, d)) + 0.4 * chance.normal(size=(samples, d)) + 7
        for d in (2, 5, 9)
    ]
    found[2][:, 3] = found[2][:, 4]
    return found


@pytest.mark.parametrize("batch", [1, 7, 60, 100])
@pytest.mark.parametrize("memory", [1, 2**20])
def test_a_table_holds_the_regression_of_every_pair(
    batch: int, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regression, "_MEMORY", memory)
    parts = features()

    table = regression_table(parts, NAMES, batch=batch)

    expected = [[linear_regression(x, y) for y in parts] for x in parts]
    assert np.allclose(table, expected, atol=1e-9)
    assert table.diagonal().tolist() == [1.0, 1.0, 1.0]


def test_rounding_of_float32_explains_nothing() -> None:
    x, y, _ = features()
    rounded = np.concatenate([y, y[:, :1] + 30], 1).astype(np.float32)

    table = regression_table([x, rounded], NAMES[:2])

    assert table[0, 1] == pytest.approx(linear_regression(x, y), abs=1e-3)


def test_progress_counts_what_explains() -> None:
    done: list[int] = []

    regression_table(features(), NAMES, progress=done.append)

    assert done == [1, 2, 3]


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    peaks = []
    for samples in (500, 4000):
        parts = features(samples)
        tracemalloc.start()
        regression_table(parts, NAMES, batch=50)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.2 * peaks[0]


def test_as_many_channels_as_images_are_refused() -> None:
    check_samples(11, [3, 9], NAMES)

    with pytest.raises(UsageError) as caught:
        check_samples(10, [3, 9], NAMES)

    assert str(caught.value) == (
        "Linear regression on 10 images explains everything by the 9 channels of b. Give more than "
        "10 images, better several times as many, or use linear_cka, which is unbiased for few "
        "images."
    )


@pytest.mark.parametrize("value", [0.1, np.nan])
def test_features_that_never_vary_are_named(value: float) -> None:
    x, y, z = features()

    with pytest.raises(UsageError, match="features of b are the same for all samples, or not fin"):
        regression_table([x, np.full_like(y, value), z], NAMES)
