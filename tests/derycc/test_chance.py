"""Chance: a network that may as well guess is said to be of no use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from compiler.judged import Judged
from compiler.quality import Quality
from derycc.chance import chance_warning, least_share


def judged(right: int, images: int, labelled: bool = True) -> Judged:
    share = right / images
    good = Quality(images, 1.0, 1.0, 1.0)
    return Judged(good, Quality(images, share if labelled else None, None, share))


@pytest.mark.parametrize(
    ("right", "images", "classes", "warned"),
    [
        (0, 35, 1000, True),
        (1, 35, 1000, True),
        (2, 35, 1000, False),
        (5, 35, 10, True),
        (15, 35, 10, False),
        (0, 1, 2, True),
        (0, 35, 1, False),
    ],
)
def test_what_is_no_better_than_a_guess_is_warned_of(
    right: int, images: int, classes: int, warned: bool
) -> None:
    assert (chance_warning(judged(right, images), classes) is not None) == warned


def test_a_warning_says_what_was_seen_and_what_to_do() -> None:
    assert chance_warning(judged(0, 35), 1000) == (
        "the network is right on 0 of 35 held-out photographs, which is no better than a guess "
        "among 1000 classes: it is of no use as it is. Allow more latency, relax the other limits, "
        "or add donors."
    )
    assert chance_warning(judged(5, 5), 2) == (
        "the network is right on 5 of 5 held-out photographs, which cannot be told from a guess "
        "among 2 classes with so few photographs. Judge it on more (--judge-data) before it is "
        "used."
    )
    agrees = chance_warning(judged(1, 35, labelled=False), 1000)
    assert agrees is not None
    assert agrees.startswith("the network agrees with the reference on 1 of 35 held-out")


@given(st.data())
def test_only_what_is_right_no_more_often_than_a_guess_is_called_of_no_use(
    data: st.DataObject,
) -> None:
    images, classes = data.draw(st.integers(1, 60)), data.draw(st.integers(2, 20))
    right = data.draw(st.integers(0, images))

    said = chance_warning(judged(right, images), classes) or ""

    assert ("of no use" in said) == (right / images <= 1 / classes)


def test_of_a_network_that_was_written_down_no_search_is_advised() -> None:
    said = chance_warning(judged(0, 35), 1000, searched=False)

    assert said is not None
    assert said.endswith("Write down another network, or train this one before it is used.")


@given(st.data())
def test_the_interval_is_the_exact_one(data: st.DataObject) -> None:
    images = data.draw(st.integers(1, 200))
    right = data.draw(st.integers(0, images))

    exact = binomtest(right, images).proportion_ci(0.95, "exact")

    assert least_share(judged(right, images).held_out) == pytest.approx(exact.low, abs=1e-9)
