"""Serving: reads what is asked on standard input, does it, and answers on standard output.

TensorRT, CUDA and what they load may print; the pipe to the host is a descriptor of its own, and
what is printed goes to standard error.
"""

import os
import signal
import sys
import threading
import time
from typing import IO, Any, Callable, Dict, Optional

from backends.trt_worker.building import build
from backends.trt_worker.cuda import Device
from backends.trt_worker.faults import Fault
from backends.trt_worker.framing import PROTOCOL, FrameError, read_frame, write_frame
from backends.trt_worker.loaded import Loaded
from backends.trt_worker.runtime import Runtime, find_runtime
from backends.trt_worker.watch import Nvml, Watch, find_nvml

Answer = Dict[str, Any]
LOST = 3
"""The exit code where the GPU's context is of no use any more."""
_LOOK_S = 1.0
"""How often it is looked whether the host is still there."""


class Worker:
    """What one worker has open: TensorRT, the GPU, and engines by number."""

    def __init__(self) -> None:
        """Opens nothing yet: what is missing is an answer."""
        self._runtime: Optional[Runtime] = None
        self._device: Optional[Device] = None
        self._nvml: Optional[Nvml] = None
        self._driver: Optional[str] = None
        self._engines: Dict[int, Loaded] = {}
        self._count = 0
        self.doers: Dict[str, Callable[[Answer], Answer]] = {
            "hello": self._hello,
            "device": self._facts,
            "build": self._build,
            "load": self._load,
            "run": self._run,
            "time": self._time,
            "latency": lambda asked: {"seconds": self._of(asked).latency(**_words(asked))},
            "inspect": lambda asked: {"layers": self._of(asked).inspect()},
            "layers": lambda asked: {"times": self._of(asked).layer_times(**_words(asked))},
            "unload": self._unload,
        }

    def answer(self, asked: Answer) -> Answer:
        """What comes of one request, or what is wrong with it."""
        try:
            do = self.doers.get(str(asked.get("do")))
            if do is None:
                raise Fault("usage", f"nobody knows how to do {asked.get('do')!r}")
            return {"id": asked.get("id"), "ok": do(asked)}
        except Fault as fault:
            kind, said = fault.kind, str(fault)
        except OSError as error:
            kind, said = "disk", f"{error.filename or 'a file'}: {error.strerror}"
        except Exception as error:  # noqa: BLE001  of TensorRT and pycuda anything may come
            kind, said = "run", f"{type(error).__name__}: {error}"
        if self._device is not None and not self._device.sound:
            kind = "lost"
        return self._refused(asked, kind, said)

    def close(self) -> None:
        """Frees all engines, then the device."""
        device, self._device = self._device, None
        try:
            while self._engines:
                self._engines.popitem()[1].close()
        finally:
            if device is not None:
                device.close()

    def _refused(self, asked: Answer, kind: str, message: str) -> Answer:
        log = list(self._runtime.lines) if self._runtime is not None else []
        return {
            "id": asked.get("id"),
            "error": {"kind": kind, "message": message, "log": log[-20:]},
        }

    def _hello(self, asked: Answer) -> Answer:
        self._runtime = find_runtime(asked.get("module"))
        return {
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "python": sys.version.split()[0],
            "tensorrt": self._runtime.version,
            "rtx": self._runtime.is_rtx,
            "strongly_typed": self._runtime.strongly_typed,
        }

    def _facts(self, asked: Answer) -> Answer:
        return {**self._opened().facts(), "driver": self._driver}

    def _build(self, asked: Answer) -> Answer:
        runtime = self._known()
        if not runtime.is_rtx or not asked["settings"].get("capability"):
            self._opened()  # without a GPU, TensorRT's builder may end this process
        return build(runtime, asked)

    def _load(self, asked: Answer) -> Answer:
        device = self._opened()  # as above: its runtime surely does
        self._count += 1
        self._engines[self._count] = Loaded(self._known(), device, asked["plan"])
        return {"engine": self._count, **self._engines[self._count].facts()}

    def _run(self, asked: Answer) -> Answer:
        return {"names": self._of(asked).run(**_words(asked))}

    def _time(self, asked: Answer) -> Answer:
        engine = self._of(asked)
        with Watch(self._nvml) as watch:
            found = engine.time(**_words(asked))
        return {**found, "seen": watch.told()}

    def _unload(self, asked: Answer) -> Answer:
        engine = self._engines.pop(asked["engine"], None)
        if engine is not None:
            engine.close()
        return {}

    def _known(self) -> Runtime:
        if self._runtime is None:
            raise Fault("usage", "hello comes first")
        return self._runtime

    def _opened(self) -> Device:
        self._known()
        if self._device is None:
            nvml = find_nvml(Device.address())
            self._device = Device()
            if nvml is not None:
                nvml.opened()
                self._nvml, self._driver = nvml, nvml.driver()
        return self._device

    def _of(self, asked: Answer) -> Loaded:
        engine = self._engines.get(asked["engine"])
        if engine is None:
            raise Fault("usage", f"there is no engine {asked['engine']}")
        return engine


def _words(asked: Answer) -> Answer:
    """What is said to an engine: all but who is asked for what."""
    return {name: value for name, value in asked.items() if name not in ("id", "do", "engine")}


def main() -> int:
    """Serves until the pipe is closed or holds no frame; 1 in the latter case."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers, questions = _private_output(), sys.stdin.buffer
    worker = Worker()
    code = serve(worker, questions, answers)
    if code == LOST:
        os._exit(code)  # whatever is freed now would only fail
    worker.close()
    return code


def serve(worker: Worker, questions: IO[bytes], answers: IO[bytes]) -> int:
    """Answers one question after the other; `LOST` where the GPU is of no use any more."""
    while True:
        try:
            asked = read_frame(questions)
        except FrameError as error:
            sys.stderr.write(f"what was asked is no frame: {error}\n")
            return 1
        if asked is None:
            return 0
        answer = worker.answer(asked)
        try:
            write_frame(answers, answer)
        except ValueError as error:  # a number that is none, of an inspector
            write_frame(answers, {"id": asked.get("id"), "error": _unsaid(error)})
        except OSError:
            return 0
        if answer.get("error", {}).get("kind") == "lost":
            return LOST


def _unsaid(error: ValueError) -> Answer:
    return {"kind": "run", "message": f"what came of it cannot be told: {error}", "log": []}


def _end_with(parent: int) -> None:
    """Ends this process, whatever it does, when the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    sys.stderr.write("the process that started it is gone\n")
    os._exit(1)


def _private_output() -> IO[bytes]:
    """The pipe to the host."""
    private = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return private
