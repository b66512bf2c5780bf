"""`OrtBackend`: ONNX Runtime on the CPU, with every setting that moves a latency set explicitly."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import GraphProto, ModelProto

from backends.backend import Array, Backend, Engine
from backends.model import ExportedModel
from targets.errors import TargetUnavailableError, UsageError
from targets.scratch import scratch_folder
from targets.target import Target

if TYPE_CHECKING:
    import onnxruntime

_ERROR = 3  # severity: errors and worse
PROVIDERS = ["CPUExecutionProvider"]
"""What executes the nodes of a graph."""


class OrtBackend(Backend):
    """Compiles with all graph optimizations for the CPU."""

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "ort"

    def unavailable(self) -> str | None:
        """Whether onnxruntime can be imported."""
        return _unavailable()

    def versions(self) -> dict[str, str]:
        """The version of onnxruntime; empty where it is not installed."""
        return _versions()

    def compile(self, model: ExportedModel, target: Target) -> Engine:
        """Makes a session with the target's threads, spinning and affinity."""
        check_runtime()
        _check_processors(target)
        return _engine(model, _options(target), target.affinity)


class DefaultOrtBackend(Backend):
    """ONNX Runtime with its own defaults but for the number of threads, to compare engines with."""

    @property
    def name(self) -> str:
        """Its name among the peers."""
        return "onnxruntime"

    def unavailable(self) -> str | None:
        """As of `OrtBackend`."""
        return _unavailable()

    def versions(self) -> dict[str, str]:
        """As of `OrtBackend`."""
        return _versions()

    def compile(self, model: ExportedModel, target: Target) -> Engine:
        """Makes a session; of the target the number of threads is looked at alone."""
        check_runtime()
        from onnxruntime import SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = target.threads
        options.log_severity_level = _ERROR
        return _engine(model, options, affinity=())


def _unavailable() -> str | None:
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        return f"onnxruntime cannot be imported ({error}). Install it: pip install onnxruntime"
    return None


def _versions() -> dict[str, str]:
    if _unavailable():
        return {}
    import onnxruntime

    return {"onnxruntime": str(onnxruntime.__version__)}


def check_runtime() -> None:
    """Refuses to go on where onnxruntime cannot be imported.

    Raises:
        TargetUnavailableError: naming what to install.
    """
    reason = _unavailable()
    if reason:
        raise TargetUnavailableError(f"The backend 'ort' cannot be used here: {reason}")


def _engine(
    model: ExportedModel, options: "onnxruntime.SessionOptions", affinity: tuple[int, ...]
) -> "OrtEngine":
    from onnxruntime import InferenceSession

    start = perf_counter()
    with explained("load", model.name):
        session = InferenceSession(model.onnx, options, providers=PROVIDERS)
    return OrtEngine(model, session, affinity, perf_counter() - start)


class OrtEngine(Engine):
    """One inference session."""

    def __init__(
        self,
        model: ExportedModel,
        session: "onnxruntime.InferenceSession",
        affinity: tuple[int, ...],
        load_seconds: float,
    ) -> None:
        """Keeps the session and the processor that the calling thread is pinned to."""
        super().__init__(model, load_seconds)
        self._session: Any = session
        self._core = affinity[0] if affinity else None

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        names = [spec.name for spec in self._model.outputs]
        with _pinned(self._core), explained("run", self._model.name):
            values = self._session.run(names, dict(inputs))
        return dict(zip(names, values, strict=True))

    def _time(self, inputs: Mapping[str, Array], repeats: int) -> float:
        binding = self._bind(inputs)
        run = self._session.run_with_iobinding
        with _pinned(self._core), explained("run", self._model.name):
            start = perf_counter()
            for _ in range(repeats):
                run(binding)
            return perf_counter() - start

    def _close(self) -> None:
        self._session = None

    def _bind(self, inputs: Mapping[str, Array]) -> Any:
        from onnxruntime import OrtValue

        binding = self._session.io_binding()
        for spec in self._model.inputs:
            array = np.ascontiguousarray(inputs[spec.name])
            binding.bind_ortvalue_input(spec.name, OrtValue.ortvalue_from_numpy(array))
        for spec in self._model.outputs:
            value = OrtValue.ortvalue_from_shape_and_type(spec.shape, np.dtype(spec.dtype))
            binding.bind_ortvalue_output(spec.name, value)
        return binding


@dataclass(frozen=True, slots=True)
class NodeRun:
    """One node of the optimized graph in one inference.

    Attributes:
        name: The node's.
        op_type: Its operator, after all optimizations.
        inputs: Shapes of the inputs that the runtime was given; weights that it packed when it
            loaded the model are not among them.
        output: Shape of the first output.
        source: The node of the model that it was made of; empty where the runtime put it in.
    """

    name: str
    op_type: str
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """What the runtime made of a model: the optimized graph, and its nodes as they ran."""

    graph: GraphProto
    runs: tuple[NodeRun, ...]


def trace(model: ExportedModel, target: Target) -> Trace:
    """Optimizes a model as `OrtBackend.compile` does, and watches one inference of zeros.

    Raises:
        TargetUnavailableError: The runtime is not installed, or may not use the target's cores.
        UsageError: The runtime cannot load or run this model.
    """
    check_runtime()
    _check_processors(target)
    numbered, names = _numbered(model)
    with scratch_folder() as folder:
        file = folder / "optimized.onnx"
        events = _watched(numbered, target, file)
        graph = ModelProto.FromString(file.read_bytes()).graph
    return Trace(graph, tuple(_node_run(event, names) for event in events if _is_node(event)))


def _watched(model: ExportedModel, target: Target, file: Path) -> list[dict[str, Any]]:
    """Writes the optimized graph to the file and returns the events of one inference of zeros."""
    from onnxruntime import InferenceSession

    options = _options(target)
    options.optimized_model_filepath = str(file)
    options.enable_profiling = True
    options.profile_file_prefix = str(file.parent / "profile")
    with explained("load", model.name):
        session = InferenceSession(model.onnx, options, providers=PROVIDERS)
    zeros = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in model.inputs}
    with explained("run", model.name):
        session.run(None, zeros)
    events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return events


def _numbered(model: ExportedModel) -> tuple[ExportedModel, list[str]]:
    """The model with a number before every node's name, and the names; an event finds its node."""
    proto = ModelProto.FromString(model.onnx)
    names = [node.name for node in proto.graph.node]
    for index, node in enumerate(proto.graph.node):
        node.name = f"{index} {node.name}"
    return replace(model, onnx=bytes(proto.SerializeToString())), names


_EVENT_SUFFIX = "_kernel_time"


def _is_node(event: Mapping[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event["name"]).endswith(_EVENT_SUFFIX)


def _node_run(event: Mapping[str, Any], names: Sequence[str]) -> NodeRun:
    told = event["args"]
    outputs = _shapes(told["output_type_shape"])
    name = str(event["name"]).removesuffix(_EVENT_SUFFIX)
    index = name.partition(" ")[0]
    return NodeRun(
        name=name,
        op_type=str(told["op_name"]),
        inputs=_shapes(told["input_type_shape"]),
        output=outputs[0] if outputs else (),
        source=names[int(index)] if index.isdecimal() else "",
    )


def _shapes(values: list[dict[str, list[int]]]) -> tuple[tuple[int, ...], ...]:
    """Shapes out of a list of {type: shape}."""
    return tuple(tuple(shape) for value in values for shape in value.values())


def _options(target: Target) -> "onnxruntime.SessionOptions":
    from onnxruntime import ExecutionMode, GraphOptimizationLevel, SessionOptions

    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = target.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERROR
    spinning = "1" if target.spinning else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if len(target.affinity) > 1:
        # The calling thread is not in the pool; the runtime counts processors from 1.
        pool = ";".join(str(core + 1) for core in target.affinity[1:])
        options.add_session_config_entry("session.intra_op_thread_affinities", pool)
    return options


def _check_processors(target: Target) -> None:
    if not target.affinity:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise TargetUnavailableError(
            f"The target {str(target)!r} pins its threads, which this system does not offer. "
            f"Leave the option affinity out."
        )
    allowed = os.sched_getaffinity(0)
    if not set(target.affinity) <= allowed:
        raise TargetUnavailableError(
            f"The target {str(target)!r} pins threads to the processors {list(target.affinity)}; "
            f"this process may use {sorted(allowed)}. Choose among these."
        )


@contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """Keeps the calling thread on one processor while the block runs."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def explained(doing: str, name: str) -> Iterator[None]:
    """Turns the runtime's own exceptions, which share no base class, into a helpful one."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        yield
    except (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.ModelRequiresCompilation,
        state.NotImplemented,
        state.RuntimeException,
        RuntimeError,  # what a run with bound inputs and outputs raises
    ) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UsageError(
            f"ONNX Runtime cannot {doing} the model {name!r}: {reason}. Export it with "
            f"operators and an opset that onnxruntime {onnxruntime.__version__} supports."
        ) from error
