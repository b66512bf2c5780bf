from dataclasses import replace

import pytest

from backends.reference import ReferenceBackend
from derycc.target_doctor import TargetDiagnosis, examine
from targets.errors import TargetUnavailableError
from targets.facts import Facts
from targets.target import Target

QUIET = Facts(
    cores=4,
    processors=(0, 1, 2, 3, 4, 5, 6, 7),
    smt="on",
    flags=("avx512_vnni",),
    governor="performance",
    turbo="off",
    load=0.1,
)
CPU = Target("cpu", "ort", 4, precisions=("fp32", "int8"))


def test_a_quiet_machine_can_be_used_without_a_remark() -> None:
    found = examine(CPU, QUIET)

    assert found == TargetDiagnosis(CPU, (), ())
    assert (found.usable, found.exit_code) == (True, 0)


def test_a_diagnosis_is_printed_line_by_line() -> None:
    target = Target("reference", "reference", 2, affinity=(0, 1), power_mode="MAXN")
    found = TargetDiagnosis(target, ("No core.",), ("Too hot.",))

    assert "\n".join(found.lines()) == (
        "target            reference:threads=2,affinity=0+1,power_mode=MAXN\n"
        "backend           reference\n"
        "threads           2\n"
        "precisions        fp32\n"
        "spinning          on\n"
        "affinity          0+1\n"
        "transport         local\n"
        "power mode        MAXN\n"
        "\n"
        "problem: No core.\n"
        "remark: Too hot.\n"
        "The target 'reference:threads=2,affinity=0+1,power_mode=MAXN' cannot be used here."
    )
    assert found.exit_code == 6
    assert found.data()["usable"] is False
    assert replace(found, problems=()).lines()[-1].endswith(" can be used here.")


def test_an_unknown_backend_is_a_problem_with_the_known_ones() -> None:
    (problem,) = examine(replace(CPU, backend="orr"), QUIET).problems

    assert problem.startswith("Unknown backend 'orr'. Did you mean 'ort'? Known: ")


def test_a_backend_that_cannot_be_used_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ReferenceBackend:
        raise TargetUnavailableError(f"{name} needs a driver.")

    class Absent(ReferenceBackend):
        def unavailable(self) -> str:
            return "Install it."

    monkeypatch.setattr("derycc.target_doctor.get_backend", lambda _: Absent())
    absent = examine(CPU, QUIET).problems
    monkeypatch.setattr("derycc.target_doctor.get_backend", fail)

    assert absent == ("Install it.",)
    assert examine(CPU, QUIET).problems == ("ort needs a driver.",)


@pytest.mark.parametrize(
    ("target", "facts", "problem"),
    [
        (
            replace(CPU, threads=9),
            QUIET,
            "The target asks for 9 threads; this process may use 8 processors. Use threads=4, as "
            "many as there are physical cores.",
        ),
        (
            CPU,
            replace(QUIET, cores=2, quota=2.5),
            "The target asks for 4 threads; the container allows 2.5 processors' worth of time. "
            "Use threads=2, or raise the container's quota.",
        ),
        (
            replace(CPU, affinity=(0, 9, 8, 1)),
            QUIET,
            "The target pins threads to the processors [8, 9]; this process may use "
            "[0, 1, 2, 3, 4, 5, 6, 7]. Choose among these, or use affinity=any.",
        ),
        (
            replace(CPU, affinity=(0, 1, 2, 3)),
            replace(QUIET, pinnable=False),
            "The target pins its threads, which this system does not offer. Use affinity=any.",
        ),
        (
            replace(CPU, power_mode="MAXN"),
            replace(QUIET, power_mode="15W"),
            "The target asks for the power mode 'MAXN', and this machine is in the power mode "
            "'15W'. Set the mode (nvpmodel on a Jetson, powerprofilesctl on a laptop), or use "
            "power_mode=any.",
        ),
        (
            replace(CPU, power_mode="MAXN"),
            QUIET,
            "The target asks for the power mode 'MAXN', and this machine does not tell its power "
            "mode. Set the mode (nvpmodel on a Jetson, powerprofilesctl on a laptop), or use "
            "power_mode=any.",
        ),
    ],
)
def test_what_the_machine_does_not_have_is_a_problem(
    target: Target, facts: Facts, problem: str
) -> None:
    assert examine(target, facts).problems == (problem,)


def test_the_power_mode_that_is_asked_for_is_none() -> None:
    target = replace(CPU, power_mode="MAXN")

    assert examine(target, replace(QUIET, power_mode="MAXN")).problems == ()


@pytest.mark.parametrize(
    ("target", "facts", "remark"),
    [
        (CPU, replace(QUIET, flags=("avx2",)), "int8 works, but may be slower than fp32: this pro"),
        (CPU, replace(QUIET, flags=()), "int8 works, but may be slower than fp32: this system do"),
        (replace(CPU, precisions=("fp16", "bf16")), QUIET, "fp16 and bf16 on a processor: ONNX R"),
        (replace(CPU, threads=8), QUIET, "8 threads share 4 physical cores, which is usually slow"),
        (CPU, replace(QUIET, quota=4.0), "This container is stopped when it has used 4 processors"),
        (CPU, replace(QUIET, load=3.5), "The load average is 3.5 on 4 cores: other programs are"),
        (CPU, replace(QUIET, governor="powersave"), "The frequency governor is powersave: clocks"),
        (CPU, replace(QUIET, turbo="on"), "Boost clocks are on: the first seconds run faster than"),
    ],
)
def test_what_makes_timings_slow_or_noisy_is_a_remark(
    target: Target, facts: Facts, remark: str
) -> None:
    found = examine(target, facts)

    assert found.usable
    assert [text[: len(remark)] for text in found.remarks] == [remark]


def test_facts_that_are_unknown_are_no_remark() -> None:
    facts = replace(QUIET, governor=None, turbo=None, load=None, smt=None)

    assert examine(CPU, facts) == TargetDiagnosis(CPU, (), ())


def test_the_stand_in_needs_no_cores() -> None:
    target = Target("reference", "reference", 99)

    assert examine(target, replace(QUIET, load=99.0)) == TargetDiagnosis(target, (), ())
