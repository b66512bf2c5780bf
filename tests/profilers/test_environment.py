from dataclasses import fields, replace
from typing import Any

import pytest

from backends.reference import ReferenceBackend
from profilers.environment import Environment
from targets.target import get_target


def test_an_environment_knows_the_target_and_the_runtime(environment: Environment) -> None:
    assert environment.target == "reference"
    assert environment.backend == "reference"
    assert dict(environment.versions).keys() == {"onnx"}
    assert environment.cores >= 1


def test_the_same_machine_has_the_same_fingerprint(environment: Environment) -> None:
    again = Environment.capture(get_target("reference"), ReferenceBackend())

    assert again.fingerprint == environment.fingerprint
    assert again.differences(environment) == ()


@pytest.mark.parametrize("change", [{"kernel": "other"}, {"python": "4.0"}])
def test_what_is_only_recorded_need_not_match(
    environment: Environment, change: dict[str, Any]
) -> None:
    other = replace(environment, **change)

    assert other.fingerprint == environment.fingerprint
    assert environment.differences(other) == ()


@pytest.mark.parametrize(
    "name", [item.name for item in fields(Environment) if item.name not in ("kernel", "python")]
)
def test_whatever_moves_a_latency_makes_another_environment(
    environment: Environment, name: str
) -> None:
    other = replace(environment, **{name: ("something", "else")})

    assert other.fingerprint != environment.fingerprint
    (line,) = environment.differences(other)
    assert line.startswith(f"{name.replace('_', ' ')}: ")
    assert line.endswith(" here, something else there")


def test_a_fact_that_is_not_known_is_called_unknown(environment: Environment) -> None:
    here = replace(environment, turbo="on", affinity=())
    there = replace(environment, turbo=None, affinity=(0,))

    assert here.differences(there) == (
        "turbo: on here, unknown there",
        "affinity: none here, 0 there",
    )
