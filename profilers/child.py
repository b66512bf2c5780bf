"""The parent's side of a profiling round: starts the child process, reads its lines, ends it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from types import TracebackType
from typing import IO, Self

from profilers.jobs import JOB, READING, READY, Job, Reading
from targets.errors import TargetUnavailableError

PATIENCE_SECONDS = 600.0
"""How long a child may work on one model before it is taken for hung."""

_GRACE_SECONDS = 10.0  # for a child that has said everything to end by itself
_POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def readings(
    job: Job,
    threads: int,
    patience: Callable[[], float] = lambda: PATIENCE_SECONDS,
    worker: str = f"{__package__}.worker",
) -> Generator[Reading, None, None]:
    """Measures a job in fresh child processes and yields a reading for every entry, in order.

    One process does the whole job, unless a model takes the process down with it: that model's
    reading is an error, and a new process goes on behind it.

    Args:
        job: What to measure.
        threads: The target's threads, to which other thread pools of the child are held.
        patience: Says for every model how many seconds it may take before its process is ended.
        worker: The module that is run as the child; it speaks as `profilers.worker` does.

    Raises:
        TargetUnavailableError: A child did not even start.
    """
    left = job.entries
    while left:
        with _Child(replace(job, entries=left), threads, patience, worker) as child:
            for reading in child.readings():
                left = left[1:]
                yield reading
            if left:
                lost, left = left[0], left[1:]
                yield Reading(lost.key, error=child.obituary())


class _Child:
    """One running child process."""

    def __init__(self, job: Job, threads: int, patience: Callable[[], float], worker: str) -> None:
        self._patience = patience
        self._job = job
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        self._lines: Queue[str | None] = Queue()
        self._hung = False
        self._waited = 0.0
        self._process = subprocess.Popen(
            # -P: a user's own files in the working folder are not imported.
            [sys.executable, "-P", "-m", worker, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environ(threads),
        )
        self._reader = Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(JOB.dump_json(self._job))
            self._process.stdin.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self._hung:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def readings(self) -> Iterator[Reading]:
        """Yields readings until the job is done or the process is gone."""
        if self._next() != READY:
            raise TargetUnavailableError(
                f"The process that measures did not start: {self.obituary()} "
                f"Run 'derycc doctor' to see what is missing."
            )
        for _ in self._job.entries:
            line = self._next()
            if line is None:
                return
            yield READING.validate_json(line)

    def obituary(self) -> str:
        """Why the process is gone, with the last line that it wrote to its standard error."""
        if self._hung:
            return f"it was ended because it said nothing for {self._waited:g} s."
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"the process ended with {ended}" + (f": {lines[-1]}." if lines else ".")

    def _next(self) -> str | None:
        self._waited = self._patience()
        try:
            return self._lines.get(timeout=self._waited)
        except Empty:
            self._hung = True
            return None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):  # a line that was cut off by the process's end is no line
                self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)


def _environ(threads: int) -> dict[str, str]:
    """The child's environment: this package importable, other thread pools held to the target's."""
    assert __package__ is not None
    root = str(Path(__file__).resolve().parents[__package__.count(".") + 1])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
    return {**os.environ, "PYTHONPATH": path, **dict.fromkeys(_POOLS, str(threads))}
