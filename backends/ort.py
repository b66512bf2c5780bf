"""`OrtBackend`: ONNX Runtime on the CPU, with every setting that moves a latency set explicitly."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.backend import Array, Backend, Engine
from backends.model import ExportedModel
from targets.errors import TargetUnavailableError, UsageError
from targets.target import Target

if TYPE_CHECKING:
    import onnxruntime

_ERROR = 3  # severity: errors and worse
_PROVIDERS = ["CPUExecutionProvider"]


class OrtBackend(Backend):
    """Compiles with all graph optimizations for the CPU."""

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "ort"

    def unavailable(self) -> str | None:
        """Whether onnxruntime can be imported."""
        try:
            import onnxruntime  # noqa: F401
        except ImportError as error:
            return f"onnxruntime cannot be imported ({error}). Install it: pip install onnxruntime"
        return None

    def versions(self) -> dict[str, str]:
        """The version of onnxruntime; empty where it is not installed."""
        if self.unavailable():
            return {}
        import onnxruntime

        return {"onnxruntime": str(onnxruntime.__version__)}

    def compile(self, model: ExportedModel, target: Target) -> Engine:
        """Makes a session with the target's threads, spinning and affinity."""
        reason = self.unavailable()
        if reason:
            raise TargetUnavailableError(f"The backend 'ort' cannot be used here: {reason}")
        from onnxruntime import InferenceSession

        _check_processors(target)
        start = perf_counter()
        with _explained("load", model):
            session = InferenceSession(model.onnx, _options(target), providers=_PROVIDERS)
        return OrtEngine(model, session, target, perf_counter() - start)


class OrtEngine(Engine):
    """One inference session."""

    def __init__(
        self,
        model: ExportedModel,
        session: "onnxruntime.InferenceSession",
        target: Target,
        load_seconds: float,
    ) -> None:
        """Keeps the session and the processor that the calling thread is pinned to."""
        super().__init__(model, load_seconds)
        self._session: Any = session
        self._core = target.affinity[0] if target.affinity else None

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        names = [spec.name for spec in self._model.outputs]
        with _pinned(self._core), _explained("run", self._model):
            values = self._session.run(names, dict(inputs))
        return dict(zip(names, values, strict=True))

    def _time(self, inputs: Mapping[str, Array], repeats: int) -> float:
        binding = self._bind(inputs)
        run = self._session.run_with_iobinding
        with _pinned(self._core), _explained("run", self._model):
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
def _explained(doing: str, model: ExportedModel) -> Iterator[None]:
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
            f"ONNX Runtime cannot {doing} the model {model.name!r}: {reason}. Export it with "
            f"operators and an opset that onnxruntime {onnxruntime.__version__} supports."
        ) from error
