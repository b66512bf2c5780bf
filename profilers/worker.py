"""The child process of a profiling round: measures one model after the other and says each at once.

`python -m <this module>` reads a `Job` as JSON on its standard input and writes the line `ready`,
then one `Reading` as a JSON line for every entry. One engine is alive at a time. Ctrl-C is left to
the parent; a parent that dies closes the pipe, and the next line that is written ends this process.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import numpy as np

from backends.backend import Array, Backend, Engine
from backends.model import ExportedModel
from backends.registry import get_backend
from profilers.jobs import JOB, READING, READY, Entry, Job, Reading
from profilers.measurement import median_interval
from profilers.protocol import Protocol
from targets.errors import DeryccError
from targets.target import Target, get_target

_LEAST_UNITS = 3
_GROWTH = 1.618


def main() -> int:
    """Runs the job on standard input; 0 when every entry was said, 1 when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job = JOB.validate_json(sys.stdin.buffer.read())
    try:
        with _private_output() as lines:
            work(job, lines)
    except BrokenPipeError:
        return 1
    return 0


def work(job: Job, lines: TextIO) -> None:
    """Measures every entry of a job and writes a line for each as soon as it is measured."""
    target = get_target(job.target)
    backend = get_backend(target.backend)
    _say(READY, lines)
    for entry in job.entries:
        reading = _read(entry, job, backend, target)
        _say(READING.dump_json(reading).decode(), lines)


def measure(
    engine: Engine, inputs: Mapping[str, Array], protocol: Protocol
) -> tuple[tuple[float, ...], bool]:
    """Warms an engine up and times it by the protocol.

    Returns:
        Seconds per inference of each unit, and whether the time ran out before the interval of
        their median was narrow enough.
    """
    repeats = _warm_up(engine, inputs, protocol)
    samples: list[float] = []
    spent = 0.0
    while True:
        seconds = engine.time(inputs, repeats)
        spent += seconds
        samples.append(seconds / repeats)
        if len(samples) >= protocol.min_units and _narrow(samples, protocol):
            return tuple(samples), False
        if spent >= protocol.max_seconds and len(samples) >= _LEAST_UNITS:
            return tuple(samples), not _narrow(samples, protocol)


def _warm_up(engine: Engine, inputs: Mapping[str, Array], protocol: Protocol) -> int:
    """Runs until the engine is warm and returns how many inferences make a unit."""
    repeats, spent = 1, 0.0
    while True:
        seconds = engine.time(inputs, repeats)
        spent += seconds
        if seconds < protocol.unit_seconds:
            wanted = protocol.unit_seconds / max(seconds, 1e-9) * repeats
            repeats = max(repeats + 1, min(round(wanted * 1.05), round(repeats * _GROWTH**5)))
        elif spent >= protocol.warmup_seconds:
            return repeats


def _narrow(samples: list[float], protocol: Protocol) -> bool:
    low, high = median_interval(samples)
    middle = float(np.median(samples))
    return high - low <= 2 * protocol.target_half_width * middle


def _read(entry: Entry, job: Job, backend: Backend, target: Target) -> Reading:
    folder = Path(job.folder)
    try:
        model = ExportedModel.load(folder / entry.model)
        with np.load(folder / entry.inputs, allow_pickle=False) as arrays:
            # By position: a tensor's name may be one that savez keeps for itself.
            inputs = {spec.name: arrays[f"arr_{i}"] for i, spec in enumerate(model.inputs)}
        with backend.compile(model, target) as engine:
            samples, capped = measure(engine, inputs, job.protocol)
            return Reading(entry.key, samples, engine.load_seconds, capped)
    except DeryccError as error:
        return Reading(entry.key, error=str(error))


def _say(line: str, lines: TextIO) -> None:
    lines.write(line + "\n")
    lines.flush()


def _private_output() -> TextIO:
    """The pipe to the parent; whatever else prints to standard output goes to standard error."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return lines


if __name__ == "__main__":
    sys.exit(main())
