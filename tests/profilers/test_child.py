import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.model import ExportedModel
from profilers import child
from profilers.child import readings
from profilers.jobs import JOB, Entry, Job
from profilers.protocol import Protocol
from targets.errors import TargetUnavailableError
from targets.target import get_target

ROOT = Path(__file__).parents[2]

# A parent that says the number of its child when that is ready, and then waits for one model.
PARENT = """
import sys
from profilers import child
from profilers.child import readings
from profilers.jobs import JOB

real = child._Child._next

def told(self):
    line = real(self)
    print(line, self._process.pid, flush=True)
    return line

child._Child._next = told
list(readings(JOB.validate_json(sys.stdin.buffer.read()), 1))
"""

# Children that stand in for the worker: what they do is written here.
SPEAK = 'import sys\nprint("ready", flush=True)\n'
ECHO = 'print(\'{"key": "%s", "samples": [1.0]}\', flush=True)\n'


@pytest.fixture
def job(tmp_path: Path, models: tuple[ExportedModel, ...], protocol: Protocol) -> Job:
    keys = ("a", "b", "c")
    for key, model in zip(keys, models, strict=False):
        model.save(tmp_path / f"{key}.onnx")
        np.savez(tmp_path / f"{key}.npz", np.zeros(model.inputs[0].shape, np.float32))
    entries = tuple(Entry(key, f"{key}.onnx", f"{key}.npz") for key in keys)
    return Job(str(tmp_path), get_target("reference"), protocol, entries)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes each next child run one of the given scripts instead of the worker."""
    real = subprocess.Popen

    def scripts(*texts: str) -> None:
        left = list(texts)

        def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
            return real([sys.executable, "-c", left.pop(0)], **options)

        monkeypatch.setattr(child.subprocess, "Popen", popen)

    return scripts


def test_one_process_measures_every_model(job: Job) -> None:
    found = list(readings(job, threads=1))

    assert [reading.key for reading in found] == ["a", "b", "c"]
    assert all(reading.error is None and reading.samples for reading in found)


def test_a_model_that_takes_the_process_down_is_an_error_and_the_rest_is_measured(
    job: Job, play: Any
) -> None:
    crash = "import os\nos.kill(os.getpid(), 11)\n"
    play(SPEAK + ECHO % "a" + crash, SPEAK + ECHO % "c")

    a, b, c = readings(job, threads=1)

    assert (a.error, c.error) == (None, None)
    assert (b.key, b.error) == ("b", "the process ended with signal 11.")


def test_the_last_words_of_a_process_are_told(job: Job, play: Any) -> None:
    play(*[SPEAK + "sys.exit('out of memory')"] * 3)

    found = list(readings(job, threads=1))

    expected = "the process ended with exit code 1: out of memory."
    assert [reading.error for reading in found] == [expected] * 3


def test_a_line_that_was_cut_off_is_no_reading(job: Job, play: Any) -> None:
    cut = 'print(\'{"key": "a", "sam\', end=\'\', flush=True)\n'
    play(SPEAK + cut, SPEAK + ECHO % "b" + ECHO % "c")

    a, b, c = readings(job, threads=1)

    assert a.error == "the process ended with exit code 0."
    assert (b.error, c.error) == (None, None)


def test_a_model_that_hangs_is_ended(job: Job, play: Any) -> None:
    hang = "import time\ntime.sleep(1000)\n"
    play(SPEAK + ECHO % "a" + hang, SPEAK + ECHO % "c")

    _, b, c = readings(job, threads=1, patience=lambda: 5.0)

    assert b.error == "it was ended because it said nothing for 5 s."
    assert c.error is None


def test_a_process_that_does_not_start_says_why(job: Job, play: Any) -> None:
    play("raise SystemExit('no such runtime')")

    with pytest.raises(TargetUnavailableError) as caught:
        list(readings(job, threads=1))

    assert str(caught.value) == (
        "The process that measures did not start: the process ended with exit code 1: no such "
        "runtime. Run 'derycc doctor' to see what is missing."
    )


def test_whoever_stops_reading_ends_the_process(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        seen.append(real(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(child.subprocess, "Popen", popen)
    stream = readings(job, threads=1)
    next(stream)

    stream.close()

    assert len(seen) == 1
    assert seen[0].poll() in (0, -signal.SIGKILL)


def lives(process: int) -> bool:
    """Whether a process is there and not only waiting for its parent to ask how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_whose_parent_is_killed_ends_too(job: Job) -> None:
    target = get_target("cpu:threads=1")
    endless = replace(job, target=target, protocol=Protocol(warmup_seconds=1000))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert parent.stdin is not None and parent.stdout is not None
    parent.stdin.write(JOB.dump_json(endless))
    parent.stdin.close()
    ready, number = parent.stdout.readline().split()
    before = lives(int(number))

    parent.kill()
    parent.wait(timeout=60)
    parent.stdout.close()
    end = time.monotonic() + 20
    while lives(int(number)) and time.monotonic() < end:
        time.sleep(0.05)

    assert (ready, before) == (b"ready", True)
    assert not lives(int(number))


def test_a_child_that_comes_too_late_to_see_its_parent_measures_nothing(job: Job) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "profilers.worker", "999999999"],
        input=JOB.dump_json(job),
        capture_output=True,
        cwd=ROOT,
        timeout=100,
    )

    assert (found.returncode, found.stdout, found.stderr) == (1, b"", b"")


def test_a_childs_thread_pools_have_the_targets_threads(
    job: Job, play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "already")
    tell = (
        "import os\n"
        "names = ['OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS']\n"
        "path = os.environ['PYTHONPATH'].split(os.pathsep)\n"
        "sys.exit(' '.join([*map(os.environ.get, names), path[-1]]))\n"
    )
    play(*[SPEAK + tell] * 3)

    first = next(iter(readings(job, threads=7)))

    assert first.error == "the process ended with exit code 1: 7 7 7 already."
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"] != "7"
