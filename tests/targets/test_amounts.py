"""Amounts: what a refusal says can be asked for, and is then enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.amounts import amount_text, enough_text, words
from targets.budget import Latency, parse_bytes, parse_count, parse_energy, parse_latency

amounts = st.floats(1.0, 1e12)


@pytest.mark.parametrize(
    ("resource", "amount", "nearest", "enough"),
    [
        ("latency_us", 9712.3, "9.712 ms", "9.713 ms"),
        ("latency_us", 50.0, "0.05 ms", "0.05 ms"),
        ("latency_us", 10_000.0, "10 ms", "10 ms"),
        ("params", 4_652_008, "4.652 M", "4.653 M"),
        ("params", 1, "1", "1"),
        ("macs", 2_632, "2.632 k", "2.632 k"),
        ("memory_bytes", 50_000_001, "50 MB", "50.01 MB"),
        ("weight_bytes", 999, "999 B", "999 B"),
        ("energy_j", 0.05, "50 mJ", "50 mJ"),
        ("energy_j", 0.0000012345, "0.001234 mJ", "0.001235 mJ"),
        ("donors", 2, "2", "2"),
        ("stitches", 0, "0", "0"),
    ],
)
def test_an_amount_has_a_unit_and_four_digits(
    resource: str, amount: float, nearest: str, enough: str
) -> None:
    assert amount_text(resource, amount) == nearest
    assert enough_text(resource, amount) == enough


@given(amounts)
def test_a_latency_that_is_said_to_be_enough_is(us: float) -> None:
    asked = parse_latency(enough_text("latency_us", us))

    assert isinstance(asked, Latency)
    assert us <= asked.us <= us * 1.0011


@given(amounts)
def test_so_are_sizes_counts_and_energies(amount: float) -> None:
    whole = int(amount)

    assert parse_bytes(enough_text("memory_bytes", whole)) >= whole
    assert parse_count(enough_text("params", whole)) >= whole
    assert parse_energy(enough_text("energy_j", amount * 1e-9)) >= amount * 1e-9


def test_a_latency_is_called_after_its_target_where_there_are_several() -> None:
    assert words("latency_us") == "latency (upper end)"
    assert words("latency_us", "small") == "latency on small (upper end)"
    assert words("latency_us@box:threads=2", "small") == "latency on box:threads=2 (upper end)"
    assert words("params", "small") == "number of parameters"
    assert amount_text("latency_us@box", 9712.3) == "9.712 ms"
