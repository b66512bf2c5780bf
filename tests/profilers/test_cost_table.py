from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.model import ExportedModel
from profilers.cost_table import FORMAT, CostTable
from profilers.environment import Environment
from profilers.measurement import Measurement
from targets.errors import UsageError

GOLDEN = Path(__file__).with_name("cost_table_1.json")
WITH_MEMORY = Path(__file__).with_name("cost_table_1_memory.json")

seconds = st.floats(min_value=1e-7, max_value=10)
rounds = st.lists(st.lists(seconds, min_size=1, max_size=4), min_size=1, max_size=3)
keys = st.sampled_from(["a", "b", "c"])
same_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def made(key: str, samples: list[list[float]]) -> Measurement:
    return Measurement(
        key=key,
        name=f"block {key}",
        rounds=tuple(tuple(one) for one in samples),
        load_seconds=(0.1,) * len(samples),
        capped=False,
    )


def table(environment: Environment, content: Mapping[str, list[list[float]]]) -> CostTable:
    return CostTable(environment, {key: made(key, one) for key, one in content.items()})


contents = st.dictionaries(keys, rounds)


def test_a_cost_is_found_by_the_model_and_by_its_structure(
    environment: Environment, models: tuple[ExportedModel, ...], twin: ExportedModel
) -> None:
    known = made(models[0].structure, [[1e-3]])
    costs = CostTable(environment, {known.key: known})

    assert costs.cost(models[0]) is known
    assert costs.cost(twin) is known
    assert costs.cost(known.key) is known


def test_a_model_without_a_cost_is_named(
    environment: Environment, models: tuple[ExportedModel, ...]
) -> None:
    costs = table(environment, {"a": [[1.0]]})

    with pytest.raises(UsageError) as caught:
        costs.cost(models[1])

    assert str(caught.value) == (
        "The cost table has no measurement of 'conv2'; it has 1 models on 'reference'. "
        "Profile this model on the same target first."
    )


def test_a_model_that_could_not_be_measured_says_why(environment: Environment) -> None:
    costs = CostTable(environment, {}, {"a": "it has no legs."})

    with pytest.raises(UsageError, match=r"'a' could not be measured: it has no legs"):
        costs.cost("a")


def test_a_measurement_lies_under_its_own_key(environment: Environment) -> None:
    with pytest.raises(UsageError, match=r"has a measurement of 'a' under 'b'"):
        CostTable(environment, {"b": made("a", [[1.0]])})


@same_fixture
@given(content=contents)
def test_a_table_that_is_written_and_read_is_the_same(
    environment: Environment, content: dict[str, list[list[float]]]
) -> None:
    costs = table(environment, content)

    assert CostTable.from_json(costs.to_json()) == costs


@same_fixture
@given(first=contents, second=contents, third=contents)
def test_tables_merge_in_any_order(
    environment: Environment,
    first: dict[str, list[list[float]]],
    second: dict[str, list[list[float]]],
    third: dict[str, list[list[float]]],
) -> None:
    a, b, c = (table(environment, content) for content in (first, second, third))

    assert a.merge(b) == b.merge(a)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(a) == a


def test_of_two_measurements_the_one_with_more_samples_is_kept(environment: Environment) -> None:
    few = CostTable(environment, {"a": made("a", [[9.0]])}, {"b": "broken."})
    many = table(environment, {"a": [[1.0, 2.0]], "b": [[1.0]]})

    merged = few.merge(many)

    assert merged == many


def test_tables_of_different_environments_do_not_merge(environment: Environment) -> None:
    here = table(environment, {})
    there = table(replace(environment, threads=99), {})

    with pytest.raises(UsageError, match=r"different environments \(threads: 1 here, 99 there\)"):
        here.merge(there)


def test_a_file_of_the_first_format_still_loads() -> None:
    costs = CostTable.from_json(GOLDEN.read_bytes())

    assert costs.format == FORMAT == "derycc.cost-table/1"
    assert costs.environment.cpu_model == "A processor"
    assert costs.cost("abc").median_us == pytest.approx(150)
    assert costs.cost("abc").capped
    assert costs.failures == {"def": "it is broken."}


def test_a_file_from_before_memory_was_measured_knows_none() -> None:
    cost = CostTable.from_json(GOLDEN.read_bytes()).cost("abc")

    assert (cost.peak_bytes, cost.joules, cost.contention) == (None, None, None)


def test_a_file_is_written_as_it_is_read() -> None:
    text = WITH_MEMORY.read_text("utf-8").strip()

    costs = CostTable.from_json(text)

    assert costs.to_json() == text
    assert costs.cost("abc").peak_bytes == 4096
    assert costs.environment.power_mode == "MAXN"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text: Invalid JSON"),
        ("[]", "Cannot read the cost table"),
        ('{"costs": {}}', "environment: Field required"),
        ('{"format": "derycc.cost-table/2"}', "update derycc if a newer one wrote it"),
    ],
)
def test_what_is_no_cost_table_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CostTable.from_json(text)
