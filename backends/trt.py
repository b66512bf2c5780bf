"""`TrtBackend`: TensorRT 8.6 to 11 on a CUDA GPU, in a process of its own.

A model is built into a plan once for every version, GPU, driver and setting; plans and the
builder's timings are kept in the folder that `DERYCC_PLANS` names.
"""

import atexit
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from backends.backend import Array, Backend, Engine, Step
from backends.half import in_half
from backends.model import ExportedModel
from backends.trt_doctor import climb
from backends.trt_layers import Layer, precisions, read_layers
from backends.trt_plans import Plans, unwritable, wants_half
from backends.trt_process import PYTHON, Lost, Refusal, TrtProcess, interpreter
from backends.trt_versions import known_fault
from targets.errors import TargetUnavailableError, UsageError
from targets.target import Target

_ABSENT = frozenset({"runtime", "device", "memory"})
"""Kinds of refusals that say something of the machine and nothing of the model."""

_processes: dict[str, TrtProcess] = {}


class TrtBackend(Backend):
    """Runs models on a CUDA GPU by TensorRT."""

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "trt"

    def unavailable(self) -> str | None:
        """Starts the process, which imports TensorRT and opens the GPU."""
        try:
            process = _process()
            process.ask("device")
        except (Refusal, Lost) as error:
            return _absent(error)
        return None

    def ladder(self) -> tuple[Step, ...]:
        """From the interpreter up to what is read of the GPU."""
        return tuple(climb())

    def versions(self) -> dict[str, str]:
        """Of TensorRT and the driver; and the GPU, without which they say nothing."""
        try:
            return _versions(_process())
        except (Refusal, Lost) as error:
            raise TargetUnavailableError(_absent(error)) from error

    def precision(self, target: Target) -> str:
        """Float16 where a target names it, and not float32."""
        return "fp16" if wants_half(target) else "fp32"

    def compile(self, model: ExportedModel, target: Target) -> Engine:
        """Builds a plan, unless there is one, and loads it on the GPU."""
        graph = in_half(model) if wants_half(target) else model
        try:
            return TrtEngine(model, graph, _process())
        except Refusal as error:
            if error.kind in _ABSENT:
                raise TargetUnavailableError(_absent(error)) from error
            raise _unloadable(model, error) from error
        except Lost as error:
            raise UsageError(
                f"TensorRT's process was lost over the model {model.name!r}: {error}. The next "
                "model gets another process; leave this one out, or try another version."
            ) from error


class TrtEngine(Engine):
    """A plan on the GPU, in the process."""

    def __init__(self, model: ExportedModel, graph: ExportedModel, process: TrtProcess) -> None:
        """Builds or finds the plan, and loads it.

        Args:
            model: What it is asked by: names, shapes and types of inputs and outputs.
            graph: What is built: the same in the precision that it is to run in.
            process: That builds, loads and runs it.

        Raises:
            Refusal, Lost: As `TrtProcess.ask`.
            WorkspaceError: A file cannot be written.
        """
        begun = perf_counter()
        self._process = process
        self._folder = tempfile.TemporaryDirectory(prefix="derycc-trt-")
        try:
            plans = Plans.here(Path(self._folder.name))
            plan, loaded = _loaded(plans, graph, process)
            self._number = int(loaded["engine"])
            plans.prove(plan, lambda: precisions(read_layers(self._inspected())))
        except BaseException:
            self._folder.cleanup()
            raise
        super().__init__(model, perf_counter() - begun)
        self.facts: dict[str, Any] = loaded
        self.seen: dict[str, Any] = {}

    def layers(self) -> tuple[Layer, ...]:
        """The layers that the engine tells of: nodes, precisions, tensors."""
        return read_layers(self._told("inspect")["layers"])

    def layer_times(self, inputs: Mapping[str, Array], runs: int) -> dict[str, list[float]]:
        """Milliseconds of every layer in each of some runs; profiling adds to them."""
        self._check(inputs)
        found: dict[str, list[float]] = self._told("layers", inputs=self._given(inputs), runs=runs)[
            "times"
        ]
        return found

    def latencies(self, inputs: Mapping[str, Array], count: int) -> list[float]:
        """Seconds of each of some inferences with copies to the GPU and back."""
        self._check(inputs)
        found: list[float] = self._told("latency", inputs=self._given(inputs), count=count)[
            "seconds"
        ]
        return found

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = Path(self._folder.name) / "outputs.npz"
        told = self._told("run", inputs=self._given(inputs), outputs=str(outputs))
        with np.load(outputs, allow_pickle=False) as arrays:
            found = {name: arrays[f"arr_{i}"] for i, name in enumerate(told["names"])}
        return {spec.name: found[spec.name] for spec in self._model.outputs}

    def _time(self, inputs: Mapping[str, Array], repeats: int) -> float:
        told = self._told("time", inputs=self._given(inputs), repeats=repeats, mode="hot")
        self.seen = told
        return float(told["seconds"])

    def _close(self) -> None:
        try:
            if self._process.alive:
                self._process.ask("unload", engine=self._number)
        except (Refusal, Lost):
            pass  # the next engine gets another process where this one is lost
        finally:
            self._folder.cleanup()

    def _inspected(self) -> dict[str, Any]:
        found: dict[str, Any] = self._process.ask("inspect", engine=self._number)["layers"]
        return found

    def _given(self, inputs: Mapping[str, Array]) -> dict[str, Any]:
        """The inputs as a file."""
        file = Path(self._folder.name) / "inputs.npz"
        try:
            # By position: a tensor's name may be one that savez keeps for itself.
            np.savez(file, *map(np.ascontiguousarray, inputs.values()))
        except OSError as error:
            raise unwritable(file, error) from error
        return {"file": str(file), "names": list(inputs)}

    def _told(self, do: str, **words: Any) -> dict[str, Any]:
        try:
            return self._process.ask(do, engine=self._number, **words)
        except (Refusal, Lost) as error:
            raise UsageError(
                f"TensorRT could not {do} the model {self._model.name!r}: {error}. Compile it "
                "again, or leave it out."
            ) from error


def _process() -> TrtProcess:
    """The process of the interpreter that is named now; another one where it was lost."""
    python = interpreter()
    process = _processes.get(python)
    if process is None or not process.alive:
        if process is not None:
            process.close()
        process = TrtProcess(python)
        fault = known_fault(str(process.facts["tensorrt"]))
        if fault:
            process.close()
            raise Refusal("runtime", f"TensorRT {process.facts['tensorrt']} is not used: {fault}")
        _processes[python] = process
    return process


@atexit.register
def close_processes() -> None:
    """Ends all processes."""
    while _processes:
        _processes.popitem()[1].close()


def _loaded(plans: Plans, graph: ExportedModel, process: TrtProcess) -> tuple[Path, dict[str, Any]]:
    """A model's plan on the GPU; one that was damaged since it was built is built once more."""
    versions = _versions(process)
    plan = plans.built(graph, versions, process)
    try:
        return plan, process.ask("load", plan=str(plan))
    except Refusal as error:
        if error.kind != "plan":
            raise
    plan.unlink(missing_ok=True)
    plan = plans.built(graph, versions, process)
    return plan, process.ask("load", plan=str(plan))


def _versions(process: TrtProcess) -> dict[str, str]:
    device = process.ask("device")
    return {
        "tensorrt": str(process.facts["tensorrt"]),
        "driver": str(device.get("driver") or device["cuda_driver"]),
        "gpu": str(device["gpu"]),
    }


_WORDS = {
    "parse": "it cannot read it ({}). Export it with operators that this version supports.",
    "build": "it cannot build an engine of it ({}). Export it with operators that this version "
    "supports.",
    "disk": "a file cannot be read or written ({}). Free space, or name another home folder.",
}
"""What is said of a model by what is wrong."""


def _unloadable(model: ExportedModel, error: Refusal) -> UsageError:
    said = str(error)[:600].rstrip(".")
    words = _WORDS.get(error.kind, "{}. Try another version of TensorRT, or leave it out.")
    return UsageError(f"TensorRT cannot load the model {model.name!r}: {words.format(said)}")


def _absent(error: Refusal | Lost) -> str:
    """Why TensorRT cannot be used here, and what to do."""
    said = str(error).rstrip(".")
    kind = error.kind if isinstance(error, Refusal) else "lost"
    todo = {
        "runtime": (
            "Install TensorRT and pycuda for this interpreter (pip install derycc[tensorrt]), or "
            f"name one that has them in {PYTHON}."
        ),
        "device": "Check the GPU and its driver with nvidia-smi.",
        "memory": "End other programs on the GPU, or use a smaller network.",
    }
    ended = f"Run derycc doctor, and check the interpreter that {PYTHON} names."
    return f"TensorRT cannot be used by {interpreter()}: {said}. {todo.get(kind, ended)}"
