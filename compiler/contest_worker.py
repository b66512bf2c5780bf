"""The child process of a contest: checks one contestant's answers, then measures it.

It speaks as `profilers.worker` does, and knows more runtimes: those of `backends.registry.PEERS`
and torch. Beside an entry's two files lie those that `compiler.contestants` describes.
"""

import sys
from pathlib import Path
from typing import TextIO

from backends.backend import Array, Engine
from backends.deviation import cosines
from backends.model import ExportedModel
from backends.registry import get_backend, get_peer
from compiler.contestants import TORCH, program_file, read_expected
from profilers.energy import find_meter
from profilers.jobs import READING, READY, Entry, Job, Reading
from profilers.timing import measure
from profilers.worker import load, main, say
from targets.errors import DeryccError, VerificationError


def work(job: Job, lines: TextIO) -> None:
    """Measures every entry of a job and writes a line for each."""
    say(READY, lines)
    for entry in job.entries:
        try:
            reading = _read(entry, job)
        except DeryccError as error:
            reading = Reading(entry.key, error=str(error))
        say(READING.dump_json(reading).decode(), lines)


def _read(entry: Entry, job: Job) -> Reading:
    folder = Path(job.folder)
    model, inputs = load(entry, folder)
    with _engine(entry, model, job) as engine:
        (answers,) = engine.run(inputs).values()
        require_same(entry.key, answers, *read_expected(folder, entry.key))
        timing = measure(engine, inputs, job.protocol, find_meter())
        return Reading(
            entry.key,
            timing.samples,
            engine.load_seconds,
            timing.capped,
            joules=timing.joules,
            contention=timing.contention,
        )


def _engine(entry: Entry, model: ExportedModel, job: Job) -> Engine:
    if entry.runtime in TORCH:
        from compiler.torch_engines import open_engine

        program = program_file(Path(job.folder), entry.key)
        return open_engine(entry.runtime, program, model, job.target)
    if entry.runtime:
        return get_peer(entry.runtime).compile(model, job.target)
    return get_backend(job.target.backend).compile(model, job.target)


def require_same(name: str, answers: Array, expected: Array, least: float) -> None:
    """Refuses a contestant that computes something else.

    Raises:
        VerificationError: the least cosine of its rows with the expected ones is too low.
    """
    a, b = answers.reshape(len(answers), -1), expected.reshape(len(expected), -1)
    if a.shape != b.shape:
        raise VerificationError(f"{name} answers {a.shape} numbers, the build {b.shape}.")
    cosine = float(cosines(a, b).min())
    if not cosine >= least:
        raise VerificationError(
            f"{name} computes something else than the build: cosine {cosine:.6f}, at least {least} "
            f"is demanded. It was not measured."
        )


if __name__ == "__main__":
    sys.exit(main(work))
