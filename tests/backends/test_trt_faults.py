"""What ends TensorRT's process, or keeps it from being used, is an answer."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backends import trt, trt_process
from backends.model import ExportedModel
from backends.trt import TrtBackend
from backends.trt_process import PYTHON, Lost, Refusal, TrtProcess
from targets.errors import TargetUnavailableError, UsageError
from targets.target import Target
from tests.backends.trt_cases import image, one

pytestmark = pytest.mark.usefixtures("trt_stand_in")


def test_an_interrupt_ends_the_process_and_not_the_next_question(
    trt_stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = TrtProcess(str(trt_stand_in))

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process._answers, "get", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process.ask("device")

    assert not process.alive
    with pytest.raises(Lost, match="it was interrupted, asked to device"):
        process.ask("device")
    process.close()


def test_a_launcher_may_say_where_tensorrt_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the launcher of a kit does; derycc's own folder is not handed on."""
    stand_in = Path(__file__).parent / "stand_in"
    (tmp_path / "sitecustomize.py").write_text("import libraries; libraries.install()")
    script = tmp_path / "launcher"
    script.write_text(
        "#!/bin/sh\n"
        f'export PYTHONPATH={stand_in}:{tmp_path}:"$PYTHONPATH"\n'
        f'exec {sys.executable} "$@"\n'
    )
    script.chmod(0o755)
    root = str(Path(trt_process.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}/elsewhere")
    monkeypatch.setenv(PYTHON, str(script))

    assert TrtBackend().unavailable() is None
    assert trt_process.environ()["PYTHONPATH"] == "/elsewhere"


def test_a_block_that_cannot_be_built_is_told_in_the_builders_words(target: Target) -> None:
    with pytest.raises(
        UsageError, match=r"'one': it cannot build an engine of it .*Could not find"
    ):
        TrtBackend().compile(one("Det"), target)

    TrtBackend().compile(one("Relu"), target).close()  # and the next one is built


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("die-build", r"signal 11 \(SIGSEGV\), asked to build; its last lines: .*invalid pointer"),
        ("hang-build", r"said nothing for 0\.5 s, asked to build"),
        ("garbage-build", r"what it answered is no frame: a frame of 4294967295 bytes"),
        ("die-run", r"signal 11 \(SIGSEGV\), asked to load"),
        ("hang-run", r"said nothing for 0\.5 s, asked to load"),
        ("stick-run", r"the GPU is of no use to it any more .*, asked to load"),
    ],
)
def test_a_process_that_is_lost_is_an_answer_and_the_next_block_has_another(
    fault: str, said: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for do in ("build", "load"):
        monkeypatch.setitem(trt_process.SECONDS, do, 0.5 if "hang" in fault else 30.0)
    monkeypatch.setenv("STAND_IN_FAULT", fault)

    with pytest.raises(UsageError, match=rf"was lost over the model 'one': .*{said}"):
        TrtBackend().compile(one("Relu"), target)

    monkeypatch.delenv("STAND_IN_FAULT")
    TrtBackend().compile(one("Relu"), target).close()


def test_a_worker_that_is_killed_between_runs_is_told(target: Target) -> None:
    model = one("Relu")
    engine = TrtBackend().compile(model, target)
    (process,) = trt._processes.values()
    os.kill(process.facts["pid"], 9)

    with pytest.raises(UsageError, match=r"could not run the model 'one': .*SIGKILL"):
        engine.run(image(model))
    engine.close()
    with TrtBackend().compile(model, target) as another:
        assert another.run(image(model))["y"].shape == (2, 2)


def test_a_gpu_without_memory_is_busy_and_no_fault_of_the_model(
    residual: ExportedModel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_MEMORY", "100")

    with pytest.raises(
        TargetUnavailableError, match=r"bytes are wanted, and .* are free.*End other"
    ):
        TrtBackend().compile(residual, target)


def test_a_machine_without_a_gpu_is_told_before_tensorrt_is_asked(
    residual: ExportedModel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_GPU", "none")

    said = TrtBackend().unavailable()

    assert said is not None
    assert "no CUDA-capable device is detected. Check the GPU and its driver" in said
    with pytest.raises(TargetUnavailableError, match="no CUDA-capable device"):
        TrtBackend().compile(residual, target)


def test_an_interpreter_without_tensorrt_says_what_to_install(
    request: pytest.FixtureRequest,
) -> None:
    request.getfixturevalue("no_tensorrt")  # instead of the one that has stand-ins

    said = TrtBackend().unavailable()

    assert said is not None and "import of tensorrt halted" in said
    assert f"name one that has them in {PYTHON}" in said


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/cat", "/bin/true"])
def test_what_is_no_interpreter_is_told(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, python)

    said = TrtBackend().unavailable()

    assert said is not None and said.startswith(f"TensorRT cannot be used by {python}: ")


def test_a_version_that_is_too_old_is_refused(
    trt_stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_VERSION", "8.5.3.1")

    with pytest.raises(Refusal, match=r"8\.5\.3\.1 is older than 8\.6"):
        TrtProcess(str(trt_stand_in))


def test_a_host_that_is_killed_leaves_no_worker(trt_stand_in: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); "
        "from backends.trt_process import TrtProcess; p = TrtProcess(sys.argv[2]); "
        "print(p.facts['pid'], flush=True); os.kill(os.getpid(), 9)"
    )
    root = str(Path(trt_process.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, root, str(trt_stand_in)], capture_output=True, check=False
    )
    worker = Path(f"/proc/{int(done.stdout)}")

    until = time.monotonic() + 20
    while worker.exists() and time.monotonic() < until:
        time.sleep(0.1)

    assert not worker.exists()


def test_a_question_that_nobody_knows_is_refused(process: TrtProcess) -> None:
    with pytest.raises(Refusal, match="nobody knows how to do 'dance'"):
        process.ask("dance")
    with pytest.raises(Refusal, match="there is no engine 7"):
        process.ask("inspect", engine=7)


def test_a_closed_process_is_not_asked(process: TrtProcess) -> None:
    process.close()

    with pytest.raises(Lost, match="it was closed"):
        process.ask("device")
