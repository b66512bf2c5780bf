"""Caps: which blocks are allowed, and what a refusal says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.block_caps import Caps, legal_blocks
from compiler.similarity_table import ModelNodes
from targets.errors import UsageError


def donor(*params: int) -> ModelNodes:
    return ModelNodes("donor", tuple(f"n{i}" for i in range(len(params))), params)


def lengths(model: ModelNodes, k: int, caps: Caps) -> set[int]:
    starts, ends = np.nonzero(legal_blocks(model, k, caps))
    return {int(end - start) for start, end in zip(starts, ends, strict=True)}


@pytest.mark.parametrize(
    ("nodes", "k", "epsilon", "longest"),
    [
        (16, 4, 0.2, 4),  # 4.8
        (10, 4, 0.2, 3),  # 3.0 exactly
        (33, 4, 0.2, 9),  # 9.9
        (12, 4, 0.0, 3),
        (12, 4, None, 9),
        (6, 1, 0.2, 6),
    ],
)
def test_a_block_has_at_most_its_share_of_nodes_and_epsilon_more(
    nodes: int, k: int, epsilon: float | None, longest: int
) -> None:
    found = lengths(donor(*[1] * nodes), k, Caps(epsilon))

    assert max(found) == longest


def test_only_blocks_that_some_partition_has_are_legal() -> None:
    found = np.argwhere(legal_blocks(donor(1, 1, 1, 1), 3, Caps(None))).tolist()

    assert found == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3], [2, 4], [3, 4]]


def test_a_block_has_at_most_its_share_of_parameters_or_is_a_single_node() -> None:
    found = np.argwhere(legal_blocks(donor(1, 1, 2, 20), 2, Caps(None, 0.0))).tolist()

    # The cap is 12; the last node alone has 20.
    assert found == [[0, 3], [3, 4]]


def test_without_caps_parameters_do_not_matter() -> None:
    found = lengths(donor(1, 10**9, 1), 2, Caps(None, None))

    assert found == {1, 2}


def test_a_donor_that_cannot_be_cut_within_the_cap_is_named_with_the_smallest_epsilon() -> None:
    with pytest.raises(UsageError) as refusal:
        legal_blocks(donor(1, 2, 3, 4, 5), 4, Caps(0.2))

    assert str(refusal.value) == (
        "donor has 5 nodes and 15 parameters in them, and cannot be cut into 4 blocks of at most "
        "1.5 nodes. The smallest epsilon with which it can is 0.6. Or ask for another number of "
        "blocks (-k), or leave this donor out."
    )
    assert legal_blocks(donor(1, 2, 3, 4, 5), 4, Caps(0.6)).any()


def test_where_either_cap_may_give_way_both_epsilons_are_named() -> None:
    model = donor(5, 1, 3, 1)

    with pytest.raises(UsageError, match=r"at most 2 nodes and at most 5 parameters") as refusal:
        legal_blocks(model, 2, Caps(0.0, 0.0))

    assert "The smallest epsilon with which it can is 0.5, or param_epsilon 0.2." in str(
        refusal.value
    )
    assert legal_blocks(model, 2, Caps(0.5, 0.0)).any()
    assert legal_blocks(model, 2, Caps(0.0, 0.2)).any()


def test_where_the_cap_on_nodes_alone_is_too_tight_its_epsilon_is_named() -> None:
    with pytest.raises(UsageError, match=r"The smallest epsilon with which it can is 0\.334\."):
        legal_blocks(donor(1, 1, 1), 2, Caps(0.0, 10.0))


def test_where_the_cap_on_parameters_alone_is_too_tight_its_epsilon_is_named() -> None:
    with pytest.raises(UsageError, match=r"smallest param_epsilon with which it can is 0\.334\."):
        legal_blocks(donor(3, 3, 3), 2, Caps(None, 0.0))


def test_where_both_caps_are_too_tight_epsilons_are_named_that_work_together() -> None:
    model = donor(5, 5, 5)

    with pytest.raises(UsageError, match=r"epsilon 0\.334 and param_epsilon 0\.334 together"):
        legal_blocks(model, 2, Caps(0.0, 0.0))

    assert legal_blocks(model, 2, Caps(0.334, 0.334)).any()


def test_a_donor_with_fewer_nodes_than_blocks_is_refused() -> None:
    with pytest.raises(UsageError, match="donor has 3 nodes, so it cannot be cut into 4 blocks"):
        legal_blocks(donor(1, 1, 1), 4, Caps())


def test_less_than_one_block_is_refused() -> None:
    with pytest.raises(UsageError, match="Asked for 0 blocks of each donor"):
        legal_blocks(donor(1), 0, Caps())


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_an_epsilon_that_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match=r"param_epsilon is (-0\.1|nan|inf)"):
        Caps(None, value)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=9),
    st.integers(1, 5),
    st.none() | st.floats(0, 1, allow_subnormal=False),
    st.none() | st.floats(0, 1, allow_subnormal=False),
)
def test_what_is_legal_keeps_the_caps(
    params: list[int], k: int, epsilon: float | None, param_epsilon: float | None
) -> None:
    model, caps = donor(*params), Caps(epsilon, param_epsilon)
    allowed = caps.allowed(model, k)

    for start, end in np.argwhere(allowed):
        nodes, weight = end - start, sum(params[start:end])
        assert epsilon is None or nodes * k <= (1 + epsilon) * len(params) + 1e-6
        assert (
            param_epsilon is None
            or nodes == 1
            or weight * k <= (1 + param_epsilon) * sum(params) + 1e-6
        )


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=3, max_size=9),
    st.integers(1, 3),
    st.floats(0, 0.5, allow_subnormal=False),
)
def test_what_a_refusal_advises_is_the_least_that_works(
    params: list[int], k: int, epsilon: float
) -> None:
    model, advised = donor(*params), None
    try:
        legal_blocks(model, k, Caps(epsilon))
    except UsageError as refusal:
        advised = float(str(refusal).partition("with which it can is ")[2].partition(". ")[0])

    if advised is not None:
        assert legal_blocks(model, k, Caps(advised)).any()
        assert advised > epsilon
        with pytest.raises(UsageError):
            legal_blocks(model, k, Caps(advised - 0.002))
