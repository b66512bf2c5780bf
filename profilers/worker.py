"""The child process of a profiling round: measures one model after the other and says each at once.

`python -m <this module> [PARENT]` reads a `Job` as JSON on its standard input and writes the line
`ready`, then one `Reading` as a JSON line for every entry. One engine is alive at a time. Ctrl-C is
left to the parent. On Linux this process is ended together with its parent, the process of that
number; elsewhere a parent that dies closes the pipe, and the next line that is written ends it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import numpy as np

from backends.backend import Array, Backend
from backends.model import ExportedModel
from backends.registry import get_backend
from profilers.energy import EnergyMeter, find_meter
from profilers.jobs import JOB, READING, READY, Entry, Job, Reading
from profilers.memory import peak_since, reset_peak
from profilers.sentinel import sentinel_model
from profilers.timing import measure
from targets.errors import DeryccError
from targets.target import Target

_PR_SET_PDEATHSIG = 1


def main(task: Callable[[Job, TextIO], None] | None = None) -> int:
    """Runs the job on standard input; 0 when every entry was said, 1 when the parent is gone.

    Args:
        task: What is done with a job; None: `work`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if len(sys.argv) > 1 and not _bound_to(int(sys.argv[1])):
        return 1
    job = JOB.validate_json(sys.stdin.buffer.read())
    try:
        with _private_output() as lines:
            (task or work)(job, lines)
    except BrokenPipeError:
        return 1
    return 0


def _bound_to(parent: int) -> bool:
    """Has the kernel end this process when its parent ends; False where that has happened already.

    To Linux the parent is the thread that started this process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def work(job: Job, lines: TextIO) -> None:
    """Measures every entry of a job and writes a line for each as soon as it is measured."""
    target, backend = job.target, get_backend(job.target.backend)
    say(READY, lines)
    _wake(backend, target)
    meter = find_meter()
    for entry in job.entries:
        reading = _read(entry, job, backend, target, meter)
        say(READING.dump_json(reading).decode(), lines)


def _read(
    entry: Entry, job: Job, backend: Backend, target: Target, meter: EnergyMeter | None
) -> Reading:
    try:
        model, inputs = load(entry, Path(job.folder))
        before = reset_peak()
        with backend.compile(model, target) as engine:
            timing = measure(engine, inputs, job.protocol, meter)
            return Reading(
                entry.key,
                timing.samples,
                engine.load_seconds,
                timing.capped,
                peak_bytes=None if engine.simulated else peak_since(before),
                joules=timing.joules,
                contention=timing.contention,
            )
    except DeryccError as error:
        return Reading(entry.key, error=str(error))


def load(entry: Entry, folder: Path) -> tuple[ExportedModel, dict[str, Array]]:
    """Reads an entry's model and its inputs from the job's folder."""
    model = ExportedModel.load(folder / entry.model)
    with np.load(folder / entry.inputs, allow_pickle=False) as arrays:
        # By position: a tensor's name may be one that savez keeps for itself.
        return model, {spec.name: arrays[f"arr_{i}"] for i, spec in enumerate(model.inputs)}


def _wake(backend: Backend, target: Target) -> None:
    """Loads and runs the sentinel, so that no model's memory holds the runtime's own."""
    model = sentinel_model()
    zeros = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in model.inputs}
    with suppress(DeryccError), backend.compile(model, target) as engine:
        engine.time(zeros, 1)


def say(line: str, lines: TextIO) -> None:
    """Tells the parent a line."""
    lines.write(line + "\n")
    lines.flush()


def _private_output() -> TextIO:
    """The pipe to the parent; whatever else prints to standard output goes to standard error."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return lines


if __name__ == "__main__":
    sys.exit(main())
