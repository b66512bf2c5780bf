import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers.measurement import Measurement
from profilers.validity import Shift, Validity, compare, probes
from targets.errors import UsageError


def cost(key: str, us: float, half: float = 0.0, capped: bool = False) -> Measurement:
    """A measurement whose interval is its median, a share `half` to each side."""
    middle = us * 1e-6
    samples = (middle * (1 - half), middle, middle * (1 + half))
    return Measurement(key, f"block {key}", (samples,), (0.1,), capped)


def table(factor: float = 1.0, half: float = 0.0, count: int = 5) -> dict[str, Measurement]:
    return {f"k{i}": cost(f"k{i}", 100.0 * (i + 1) * factor, half) for i in range(count)}


@pytest.mark.parametrize(
    ("factor", "half", "verdict", "text"),
    [
        (1.0, 0.0, "valid", "still valid to +-0.0 %"),
        (1.01, 0.002, "valid", "still valid to +-1.2 %"),
        (1.09, 0.01, "not valid", "no longer valid: 9 % slower; profile again with --fresh"),
        (0.8, 0.01, "not valid", "no longer valid: 20 % faster; profile again with --fresh"),
        (1.04, 0.02, "valid", "still valid to +-6.1 %"),
        (
            1.05,
            0.2,
            "unclear",
            "cannot tell: now and then agree only to +-26 %; close other programs, or check more "
            "blocks",
        ),
    ],
)
def test_the_verdict_says_how_far_the_table_can_be_trusted(
    factor: float, half: float, verdict: str, text: str
) -> None:
    found = compare(table(), table(factor, half))

    assert (found.verdict, found.text) == (verdict, text)
    assert found.ratio == pytest.approx(factor)


def test_one_block_of_five_that_has_changed_is_named_and_two_are_too_many() -> None:
    now = table()
    now["k0"] = cost("k0", 150.0)

    one = compare(table(), now)
    now["k1"] = cost("k1", 150.0)
    two = compare(table(), now)

    assert (one.verdict, [shift.then.key for shift in one.moved]) == ("valid", ["k0"])
    assert two.verdict == "not valid"
    assert two.text == "no longer valid: 2 of 5 blocks have changed; profile again with --fresh"


def test_the_interval_of_a_ratio_holds_for_any_two_values_in_their_intervals() -> None:
    shift = Shift(cost("a", 100.0, 0.1), cost("a", 200.0, 0.2))

    assert shift.ratio == pytest.approx(2.0)
    assert shift.interval == pytest.approx((160 / 110, 240 / 90))
    assert shift.moved


@given(
    shares=st.lists(
        st.tuples(st.floats(0.5, 2), st.floats(0, 0.5, allow_subnormal=False)),
        min_size=1,
        max_size=7,
    ),
    where=st.data(),
)
def test_the_interval_of_the_median_contains_it_wherever_the_ratios_lie(
    shares: list[tuple[float, float]], where: st.DataObject
) -> None:
    then = table(count=len(shares))
    now = {
        key: cost(key, then[key].median_us * factor, half)
        for key, (factor, half) in zip(then, shares, strict=True)
    }
    found = compare(then, now)
    low, high = found.interval

    picked = sorted(
        where.draw(st.floats(*shift.interval, allow_subnormal=False)) for shift in found.shifts
    )

    middle = (picked[(len(picked) - 1) // 2] + picked[len(picked) // 2]) / 2
    assert low - 1e-9 <= middle <= high + 1e-9
    assert low - 1e-9 <= found.ratio <= high + 1e-9


def test_only_models_that_both_have_are_compared() -> None:
    found = compare(table(count=2), table(count=5))

    assert [shift.then.key for shift in found.shifts] == ["k0", "k1"]


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(UsageError, match=r"There is nothing to compare: .*Run 'derycc profile'"):
        compare(table(), {"other": cost("other", 1.0)})
    with pytest.raises(UsageError, match="There is nothing to compare"):
        Validity(())


def test_models_are_chosen_from_the_fastest_to_the_slowest() -> None:
    costs = table(count=9)

    assert probes(costs, 5) == ("k0", "k2", "k4", "k6", "k8")
    assert probes(costs, 1) == ("k4",)
    assert probes(costs, 2) == ("k0", "k8")
    assert probes(costs, 20) == tuple(costs)


def test_noisy_models_are_chosen_only_where_there_are_too_few_others() -> None:
    costs = table(count=3) | {"noisy": cost("noisy", 250.0, capped=True)}

    assert probes(costs, 3) == ("k0", "k1", "k2")
    assert probes(costs, 4) == ("k0", "k1", "noisy", "k2")


def test_less_than_one_block_cannot_be_checked() -> None:
    with pytest.raises(UsageError, match="Cannot check 0 blocks"):
        probes(table(), 0)
