"""Ranks: Spearman's correlation, and when it says nothing."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.ranks import spearman

rows = st.lists(st.integers(-5, 5), min_size=3, max_size=8)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0], 1.0),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], -1.0),
        ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0], 0.8),
        ([-math.inf, 0.0, 5.0], [0.1, 0.2, 0.3], 1.0),
    ],
)
def test_ranks_alone_count(first: list[float], second: list[float], expected: float) -> None:
    assert spearman(first, second) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "second"), [([], []), ([1.0, 2.0], [1.0, 2.0]), ([1.0] * 4, [1.0, 2.0, 3.0, 4.0])]
)
def test_two_pairs_or_a_row_of_equal_numbers_say_nothing(
    first: list[float], second: list[float]
) -> None:
    assert spearman(first, second) is None


@given(first=rows, data=st.data())
def test_it_is_symmetric_and_between_its_bounds(first: list[int], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.integers(-5, 5), min_size=len(first), max_size=len(first)))

    found = spearman(first, second)

    assert found == (None if found is None else pytest.approx(spearman(second, first)))
    assert found is None or -1 - 1e-9 <= found <= 1 + 1e-9
