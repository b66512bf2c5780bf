"""The ladder of TensorRT, climbed on stand-ins: what may be missing tells its fix."""

from pathlib import Path

import pytest

from backends.trt_doctor import climb
from backends.trt_process import PYTHON
from backends.trt_versions import ANYWAY, known_fault


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


STEPS = (
    "interpreter",
    "numpy",
    "TensorRT",
    "driver",
    "pycuda",
    "GPU",
    "engine",
    "CUDA graph",
    "NVML",
)


def test_the_ladder_is_climbed_to_its_end(trt_stand_in: Path) -> None:
    steps = {step.name: step for step in climb()}

    assert tuple(steps) == STEPS
    assert [step.problem for step in steps.values()] == [""] * len(STEPS)
    assert steps["TensorRT"].found == "TensorRT 10.16.1.11"
    assert steps["GPU"].found == (
        "Stand-in GPU, compute capability 8.9, 1.0 GiB, driver 580.105.08"
    )
    assert "computes what it should" in steps["engine"].found


@pytest.mark.parametrize(
    ("name", "value", "last", "problem"),
    [
        ("STAND_IN_VERSION", "8.5.3.1", "TensorRT", "older than 8.6"),
        ("STAND_IN_VERSION", "10.2.0.19", "TensorRT", "answer wrongly"),
        ("STAND_IN_DRIVER", "none", "driver", "libcuda.so.1: cannot open shared object file"),
        ("STAND_IN_GPU", "none", "GPU", "no CUDA-capable device is detected"),
        ("STAND_IN_FAULT", "die-build", "engine", "SIGSEGV"),
        ("STAND_IN_FAULT", "die-run", "engine", "SIGSEGV"),
    ],
)
def test_the_first_step_that_fails_is_the_last(
    name: str,
    value: str,
    last: str,
    problem: str,
    trt_stand_in: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, value)

    *below, failed = climb()

    assert (*(step.name for step in below), failed.name) == STEPS[: STEPS.index(last) + 1]
    assert all(step.passed for step in below)
    assert problem in failed.problem
    assert failed.fix


@pytest.mark.parametrize(
    ("name", "value", "worse", "problem"),
    [
        ("STAND_IN_DRIVER", "refuse", "CUDA graph", "cannot be captured"),
        ("STAND_IN_OTHERS", "4711", "NVML", "other processes are on the GPU: [4711]"),
    ],
)
def test_what_only_makes_times_worse_ends_nothing(
    name: str,
    value: str,
    worse: str,
    problem: str,
    trt_stand_in: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, value)

    steps = list(climb())

    assert tuple(step.name for step in steps) == STEPS
    failed = {step.name: step for step in steps if not step.passed}
    assert list(failed) == [worse]
    assert problem in failed[worse].problem
    assert not failed[worse].needed


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("echo 3.7.9", "is Python 3.7.9; the worker runs on 3.8 to 3.13"),
        ("echo broken >&2; exit 3", "broken"),
        ("exit 3", "it ended with code 3"),
        ("exit 0", "is no Python: asked for its version, it said ''"),
        ("echo hello", "is no Python: asked for its version, it said 'hello'"),
    ],
)
def test_an_interpreter_that_does_not_do_is_the_first_step(
    body: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON, script(tmp_path / "python", body))

    (step,) = climb()

    assert not step.passed
    assert step.problem.endswith(problem)


@pytest.mark.usefixtures("no_tensorrt")
def test_an_interpreter_without_tensorrt_ends_at_the_third_step() -> None:
    steps = list(climb())

    assert [(step.name, step.passed) for step in steps] == [
        ("interpreter", True),
        ("numpy", True),
        ("TensorRT", False),
    ]
    assert "import of tensorrt halted" in steps[-1].problem
    assert "pip install derycc[tensorrt]" in steps[-1].fix


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        ("8.6.0", False),
        ("10.2.0.19", True),
        ("10.3.0", False),
        ("11.1.0.106", True),
        ("11.2.1.2", True),
        ("11.4.0.106", False),
        ("1.7.1.116", False),
    ],
)
def test_versions_that_answer_wrongly_are_refused_with_the_reason(
    version: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = known_fault(version)

    assert bool(said) == refused
    if refused:
        assert f"or set {ANYWAY}=1" in said
        monkeypatch.setenv(ANYWAY, "1")
        assert known_fault(version) == ""
