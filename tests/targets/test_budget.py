from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.budget import (
    Budget,
    Bytes,
    Count,
    Latency,
    LatencyShare,
    latency_on,
    parse_bytes,
    parse_count,
    parse_energy,
    parse_latency,
    parse_latency_on,
    parse_latency_range,
    parse_quality,
    target_of,
)
from targets.errors import UsageError

positive = st.floats(min_value=1e-6, max_value=1e15)
whole = st.integers(min_value=1, max_value=10**18)
names = st.from_regex(r"[a-z][a-z0-9_.]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("10ms", 10_000.0),
        ("500us", 500.0),
        ("500 µs", 500.0),
        ("500 μs", 500.0),
        ("0.01s", 10_000.0),
        (" 1.5 MS ", 1_500.0),
        (".5ms", 500.0),
        ("2e3us", 2_000.0),
    ],
)
def test_a_latency_is_a_number_and_a_unit(text: str, microseconds: float) -> None:
    assert parse_latency(text) == Latency(microseconds)


def test_a_latency_may_be_a_share_of_a_donor() -> None:
    share = parse_latency("75% of tf_efficientnet_lite2")

    assert share == LatencyShare(0.75, "tf_efficientnet_lite2")
    assert str(share) == "75% of tf_efficientnet_lite2"


def test_an_unreadable_latency_is_answered_with_examples() -> None:
    with pytest.raises(UsageError) as caught:
        parse_latency("10 parsecs")

    assert str(caught.value) == (
        "Cannot read '10 parsecs' as a latency. Use a number and a unit (us, ms, s), e.g. "
        '--latency 10ms, or a share of a donor, e.g. --latency "75% of tf_efficientnet_lite2".'
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ms",
        "10",
        "0ms",
        "-1ms",
        "nanms",
        "infms",
        "inf",
        "1e999s",
        "1ms2",
        "75%",
        "0% of a",
        "75% of",
        "nan% of a",
        "75% of a b",
        "1e-999us",
        "\uff11\uff10ms",
    ],
)
def test_what_is_no_positive_finite_latency_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_latency(text)


@pytest.mark.parametrize(
    ("text", "size", "printed"),
    [
        ("50MB", 50_000_000, "50MB"),
        ("50 mb", 50_000_000, "50MB"),
        ("1.5GB", 1_500_000_000, "1.5GB"),
        ("2KiB", 2_048, "2.048kB"),
        ("1MiB", 1_048_576, "1.048576MB"),
        ("1.3B", 1, "1B"),
        ("999B", 999, "999B"),
    ],
)
def test_a_size_is_decimal_unless_its_unit_is_binary(text: str, size: int, printed: str) -> None:
    found = parse_bytes(text)

    assert found == size
    assert str(found) == f"{found}" == printed


@pytest.mark.parametrize(
    ("text", "count", "printed"),
    [
        ("20M", 20_000_000, "20M"),
        ("3.5G", 3_500_000_000, "3.5G"),
        ("4e6", 4_000_000, "4M"),
        ("17", 17, "17"),
        ("12k", 12_000, "12k"),
    ],
)
def test_a_count_may_have_a_suffix(text: str, count: int, printed: str) -> None:
    found = parse_count(text)

    assert found == count
    assert str(found) == printed


@pytest.mark.parametrize("text", ["", "0MB", "0.5B", "-5MB", "50", "50 furlongs", "1e999GB", "MB"])
def test_what_is_no_positive_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .* as a size.*--memory 50MB"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["", "0", "0.5", "-1M", "nan", "inf", "1e999", "20 MB"])
def test_what_is_no_positive_count_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .* as a count.*--params 20M"):
        parse_count(text)


@given(positive)
def test_a_latency_prints_as_a_text_that_parses_to_it(us: float) -> None:
    assert parse_latency(str(Latency(us))) == Latency(us)


@given(st.integers(1, 10**6), names)
def test_a_share_prints_as_a_text_that_parses_to_it(permille: int, model: str) -> None:
    share = LatencyShare(permille / 1000, model)

    assert parse_latency(str(share)) == share


@given(whole)
def test_sizes_and_counts_print_as_texts_that_parse_to_them(number: int) -> None:
    assert parse_bytes(str(Bytes(number))) == number
    assert parse_count(str(Count(number))) == number


@given(st.text(max_size=12))
def test_any_text_is_a_latency_or_a_usage_error(text: str) -> None:
    try:
        found = parse_latency(text)
    except UsageError:
        return

    assert parse_latency(str(found)) == found


def test_a_budget_limits_nothing_unless_told() -> None:
    budget = Budget()

    assert (budget.latency_us, budget.memory_bytes, budget.params) == (None, None, None)
    assert (budget.macs, budget.stitches, budget.donors) == (None, None, None)


def test_a_budget_may_forbid_stitches() -> None:
    assert Budget(stitches=0).stitches == 0


@pytest.mark.parametrize(
    "limit",
    [
        {"latency_us": 0.0},
        {"latency_us": float("nan")},
        {"latency_us": float("inf")},
        {"memory_bytes": -1},
        {"params": 0},
        {"macs": 0},
        {"stitches": -1},
        {"donors": 0},
        {"weight_bytes": 0},
        {"energy_j": 0.0},
        {"min_quality": 0.0},
        {"min_quality": 1.1},
    ],
)
def test_a_budget_that_nothing_can_meet_is_refused(limit: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"Cannot use"):
        Budget(**limit)


@pytest.mark.parametrize("model", ["", "two words", " padded"])
def test_a_share_names_exactly_one_donor(model: str) -> None:
    with pytest.raises(UsageError, match=r"Name one donor"):
        LatencyShare(0.5, model)


def test_a_budget_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Budget().params = 3  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("text", "joules"), [("50mJ", 0.05), ("500 uJ", 0.0005), ("2J", 2.0), (".5mj", 0.0005)]
)
def test_an_energy_is_a_number_and_a_unit(text: str, joules: float) -> None:
    assert parse_energy(text) == pytest.approx(joules, rel=1e-12)


@pytest.mark.parametrize("text", ["", "50", "0mJ", "-1J", "5 kWh", "nanJ"])
def test_what_is_no_energy_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .* as an energy.*--energy 50mJ"):
        parse_energy(text)


@pytest.mark.parametrize(("text", "share"), [("80%", 0.8), (" 72.5 %", 0.725), ("0.8", 0.8)])
def test_a_quality_is_a_percentage_or_a_share(text: str, share: float) -> None:
    assert parse_quality(text) == share


@pytest.mark.parametrize("text", ["", "%", "0%", "101%", "80", "nan", "eighty"])
def test_what_is_no_quality_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .* as a quality.*--min-quality 80%"):
        parse_quality(text)


def test_a_range_of_latencies_has_two_ends() -> None:
    assert parse_latency_range("5ms..0.03s") == (Latency(5000.0), Latency(30_000.0))


@pytest.mark.parametrize("text", ["5ms", "30ms..5ms", "5ms..5ms", "5ms..", "5% of a..6% of a"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="Cannot read"):
        parse_latency_range(text)


def test_a_donor_cannot_be_demanded_and_excluded() -> None:
    with pytest.raises(UsageError, match=r"The donor 'b' must be in the network \(--with\)"):
        Budget(required=("a", "b"), excluded=("b",))


def test_a_budget_names_what_adds_up() -> None:
    budget = Budget(latency_us=5.0, params=2, donors=1, min_quality=0.5, required=("a",))

    assert budget.amounts() == (("latency_us", 5.0), ("params", 2.0))


def test_latency_on_other_targets_is_limited_by_name() -> None:
    budget = Budget(latency_us=5.0, params=2, elsewhere=(("box:threads=2", 7.0), ("a", 3.0)))

    assert budget.amounts() == (
        ("latency_us", 5.0),
        ("latency_us@box:threads=2", 7.0),
        ("latency_us@a", 3.0),
        ("params", 2.0),
    )
    assert budget.without("latency_us@a").elsewhere == (("box:threads=2", 7.0),)
    assert budget.without("params") == replace(budget, params=None)
    assert budget.limited("latency_us@a", 4.0).elsewhere == (("box:threads=2", 7.0), ("a", 4.0))
    assert budget.limited("latency_us", 6.0).latency_us == 6.0


def test_a_limit_on_another_target_is_above_nothing() -> None:
    with pytest.raises(UsageError, match="Cannot use 0 as a budget latency_us@box"):
        Budget(elsewhere=(("box", 0),))


def test_a_resource_names_its_target() -> None:
    assert target_of(latency_on("box:threads=2,spinning=off")) == "box:threads=2,spinning=off"
    assert [target_of(name) for name in ("latency_us", "params", "latency_us@")] == [None] * 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("6ms on cpu:threads=2", ("6ms", "cpu:threads=2")),
        (" 75% of net  on box.toml:spinning=off ", ("75% of net", "box.toml:spinning=off")),
        ("6ms on my on box.toml", ("6ms", "my on box.toml")),
    ],
)
def test_a_latency_on_a_target_has_both(text: str, found: tuple[str, str]) -> None:
    assert parse_latency_on(text) == found


@pytest.mark.parametrize("text", ["6ms", "6ms on", "on cpu", "6ms cpu:threads=2", ""])
def test_what_names_no_target_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"as a latency on another target\. Say both, e\.g\."):
        parse_latency_on(text)


def test_what_stands_before_the_target_is_a_latency() -> None:
    with pytest.raises(UsageError, match="Cannot read 'fast' as a latency"):
        parse_latency_on("fast on cpu")


def test_a_range_the_wrong_way_round_is_told_so() -> None:
    with pytest.raises(UsageError, match="the lower one comes first"):
        parse_latency_range("30ms..5ms")
