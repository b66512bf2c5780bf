from dataclasses import fields, replace
from typing import Any

import pytest

from backends.reference import ReferenceBackend
from profilers.environment import Environment
from targets.machine import cpu_flags
from targets.target import get_target

INFORMATIVE = {"flags", "kernel", "precisions", "python", "target", "temperature_c"}
FIXED = Environment(
    cpu_model="A processor",
    cpu_flags="0123456789abcdef",
    cores=4,
    quota=2.5,
    memory_gib=16,
    governor="performance",
    turbo=None,
    system="Linux",
    architecture="x86_64",
    backend="ort",
    versions=(("onnxruntime", "1.31.1"),),
    target="cpu:threads=2",
    threads=2,
    spinning=True,
    affinity=(0, 1),
    precisions=("fp32",),
    kernel="6.1",
    python="3.11.7",
)


def test_an_environment_knows_the_target_and_the_runtime(environment: Environment) -> None:
    assert environment.target == "reference"
    assert environment.backend == "reference"
    assert dict(environment.versions).keys() == {"onnx"}
    assert environment.cores >= 1


def test_the_same_machine_has_the_same_fingerprint(environment: Environment) -> None:
    again = Environment.capture(get_target("reference"), ReferenceBackend())

    assert again.fingerprint == environment.fingerprint
    assert again.differences(environment) == ()


def test_the_fingerprint_of_a_known_environment_never_changes() -> None:
    assert FIXED.fingerprint == "c755e0234a611657"
    assert replace(FIXED, power_mode="MAXN").fingerprint == "cc327e5c275863e5"


def test_a_power_mode_that_one_side_does_not_know_is_a_difference() -> None:
    here = replace(FIXED, power_mode="MAXN")

    assert here.differences(FIXED) == ("power mode: MAXN here, unknown there",)


def test_targets_of_the_same_settings_share_their_measurements() -> None:
    plain, named = (
        Environment.capture(get_target(text), ReferenceBackend())
        for text in ("reference", "reference:precisions=fp32+int8")
    )

    assert plain.target != named.target
    assert plain.fingerprint == named.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"flags": ("avx",)},
        {"kernel": "other"},
        {"precisions": ("int8",)},
        {"python": "4.0"},
        {"target": "mine"},
        {"temperature_c": 71.5},
    ],
)
def test_what_is_only_recorded_need_not_match(
    environment: Environment, change: dict[str, Any]
) -> None:
    other = replace(environment, **change)

    assert other.fingerprint == environment.fingerprint
    assert environment.differences(other) == ()


@pytest.mark.parametrize(
    "name", [item.name for item in fields(Environment) if item.name not in INFORMATIVE]
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


def test_flags_that_only_one_side_has_are_named() -> None:
    here = replace(FIXED, cpu_flags="1", flags=("avx", "avx512f", "fma"))
    there = replace(FIXED, cpu_flags="2", flags=("avx", "fma"))

    assert here.differences(there) == ("cpu flags: also avx512f here, no others there",)
    assert here.differences(replace(there, flags=())) == ("cpu flags: 1 here, 2 there",)
    assert here.fingerprint == replace(here, flags=()).fingerprint


def test_this_processors_flags_are_what_their_hash_is_of() -> None:
    found = Environment.capture(get_target("reference"), ReferenceBackend())

    assert found.flags == cpu_flags()
