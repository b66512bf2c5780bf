"""The process that TensorRT lives in, as the host sees it: started, asked, and outlived.

NVIDIA's libraries end a process where there is no GPU, where a plan is damaged, and where a kernel
goes wrong; and the interpreter that has them is often not ours. So they are never loaded here. What
the process answers, how it ended, or that it hung is an answer all the same.
"""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

from backends.trt_worker.framing import PROTOCOL, FrameError, read_frame, write_frame

PYTHON = "DERYCC_TRT_PYTHON"
"""Names the interpreter that has TensorRT, where it is not the one that runs derycc."""

SECONDS = {"hello": 120.0, "device": 60.0, "build": 540.0, "load": 300.0}
"""How long the process may take for something before it is taken for hung; less than the profiler
waits for a model, so that what is told is what was asked, and not that it was waited for."""
_OTHERWISE_S = 120.0
_GRACE_S = 5.0
_LINES = 3
_WORKER = Path(__file__).resolve().parent / "trt_worker"


class Refusal(Exception):
    """The process says what is wrong, and goes on.

    Attributes:
        kind: One of `backends.trt_worker.faults.KINDS`.
        log: The last lines of TensorRT's log.
    """

    def __init__(self, kind: str, message: str, log: tuple[str, ...] = ()) -> None:
        """Keeps what was said."""
        super().__init__(message)
        self.kind = kind
        self.log = log


class Lost(Exception):
    """The process is gone, hung, or does not speak the protocol; says why and its last lines."""


def interpreter() -> str:
    """The interpreter that has TensorRT, as far as anybody said; else our own."""
    return os.environ.get(PYTHON) or sys.executable


def environ() -> dict[str, str]:
    """Of the interpreter that has TensorRT: ours, without the way to derycc's own packages.

    A launcher may set PYTHONPATH itself, or the user may have: that is left as it is.
    """
    root = str(_WORKER.parents[1])
    parts = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join(part for part in parts if part and os.path.realpath(part) != root)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "PYTHONPATH": path} if path else kept


class TrtProcess:
    """One process; it is ended with the last reference, with `close`, or by what it cannot bear."""

    def __init__(self, python: str) -> None:
        """Starts it, and hears what it has.

        Args:
            python: The interpreter.

        Raises:
            Refusal: It has no TensorRT, or one that is not driven.
            Lost: It does not start, or speaks another protocol.
        """
        self._asked = 0
        self._ended: str | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        self._answers: Queue[dict[str, Any] | FrameError | None] = Queue()
        try:
            self._process = subprocess.Popen(
                [python, "-s", "-B", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environ(),
            )
        except OSError as error:
            self._errors.close()
            raise Lost(f"{python} cannot be started: {error.strerror}") from error
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        self.facts = self._greeted()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._ended is None and self._process.poll() is None

    def ask(self, do: str, **words: Any) -> dict[str, Any]:
        """Has it do something, and waits for what comes of it.

        Raises:
            Refusal: It says what is wrong.
            Lost: It is gone, hung or answers with garbage; it is ended then.
        """
        self._asked += 1
        asked = {"id": self._asked, "do": do, **words}
        stdin = self._process.stdin
        assert stdin is not None
        try:
            write_frame(stdin, asked)
        except (OSError, ValueError) as error:
            raise self.lost(do) from error
        try:
            answer = self._next(do)
        except KeyboardInterrupt:
            # It works on, and what it answers would be taken for the answer to something else.
            self.lost(do, "it was interrupted")
            raise
        if answer.get("id") != self._asked:
            raise self.lost(do, "it answered to something else")
        return _outcome(answer, self, do)

    def close(self) -> None:
        """Ends it."""
        if self._ended is None:
            self._ended = "it was closed"
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        with suppress(OSError):
            stdin.close()  # it ends by itself then
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self._process.kill()
        self._process.wait()
        self._reader.join(_GRACE_S)
        with suppress(OSError):
            stdout.close()
        self._errors.close()

    def _greeted(self) -> dict[str, Any]:
        try:
            facts = self.ask("hello")
        except (Refusal, Lost):
            self.close()
            raise
        if facts.get("protocol") != PROTOCOL:
            self.close()
            raise Lost(
                f"it speaks version {facts.get('protocol')!r:.20} of the protocol, and derycc "
                f"{PROTOCOL}"
            )
        return facts

    def _next(self, do: str) -> dict[str, Any]:
        seconds = SECONDS.get(do, _OTHERWISE_S)
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            raise self.lost(do, f"it said nothing for {seconds:g} s") from None
        if isinstance(answer, FrameError):
            raise self.lost(do, f"what it answered is no frame: {answer}") from answer
        if answer is None:
            raise self.lost(do)
        return answer

    def lost(self, do: str, why: str | None = None) -> Lost:
        """Ends it; what became of it, asked to do something, with the last lines that it wrote.

        Args:
            do: What it was asked for.
            why: What is wrong with it; None: how it ended says so.
        """
        if self._ended is not None:
            return Lost(self._ended)
        if why is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_S)
        code = self._process.poll()
        self._process.kill()
        self._process.wait()
        if why is None:
            why = "it closed its pipe" if code is None else f"it ended with {_ending(code)}"
        last = self._last_lines()
        self._ended = f"{why}, asked to {do}" + (f"; its last lines: {last}" if last else "")
        return Lost(self._ended)

    def _last_lines(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return " / ".join(line.strip() for line in lines[-_LINES:])

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        while True:
            try:
                answer = read_frame(stdout)
            except FrameError as error:
                self._answers.put(error)
                return
            except (OSError, ValueError):
                self._answers.put(None)
                return
            self._answers.put(answer)
            if answer is None:
                return


def _outcome(answer: dict[str, Any], process: TrtProcess, do: str) -> dict[str, Any]:
    outcome, error = answer.get("ok"), answer.get("error")
    if isinstance(outcome, dict):
        return outcome
    if isinstance(error, dict):
        if error.get("kind") == "lost":
            raise process.lost(do, f"the GPU is of no use to it any more ({error.get('message')})")
        log = tuple(map(str, error.get("log") or ()))
        raise Refusal(str(error.get("kind")), str(error.get("message")), log)
    raise process.lost(do, f"what it answered says nothing: {answer!r:.80}")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"signal {-code}"
