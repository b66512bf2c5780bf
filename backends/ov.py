"""`OpenVinoBackend`: OpenVINO on the CPU in float32, to compare engines with."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np

from backends.backend import Array, Backend, Engine
from backends.model import ExportedModel
from targets.errors import TargetUnavailableError, UsageError
from targets.target import Target


class OpenVinoBackend(Backend):
    """Compiles for the CPU with the latency hint, in float32, with the target's threads."""

    @property
    def name(self) -> str:
        """Its name among the peers."""
        return "openvino"

    def unavailable(self) -> str | None:
        """Whether openvino can be imported."""
        try:
            import openvino  # noqa: F401  asked for its presence alone
        except ImportError:
            return "openvino is not installed. Install it: pip install 'derycc[peers]'"
        return None

    def versions(self) -> dict[str, str]:
        """The version of openvino; empty where it is not installed."""
        if self.unavailable():
            return {}
        import openvino

        return {"openvino": str(openvino.__version__)}

    def compile(self, model: ExportedModel, target: Target) -> Engine:
        """Reads and compiles a model."""
        reason = self.unavailable()
        if reason:
            raise TargetUnavailableError(f"The peer 'openvino' cannot be used here: {reason}")
        from openvino import Core

        settings = {
            "INFERENCE_NUM_THREADS": target.threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        start = perf_counter()
        try:
            core = Core()
            compiled = core.compile_model(core.read_model(model.onnx, b""), "CPU", settings)
        except RuntimeError as error:
            said = " ".join(str(error).split())[:300]
            raise UsageError(f"OpenVINO cannot load the model {model.name!r}: {said}") from error
        return _OpenVinoEngine(model, compiled.create_infer_request(), perf_counter() - start)


class _OpenVinoEngine(Engine):
    """One inference request."""

    def __init__(self, model: ExportedModel, request: Any, load_seconds: float) -> None:
        super().__init__(model, load_seconds)
        self._request: Any = request

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self._bind(inputs)
        self._request.infer()
        return {
            spec.name: np.array(self._request.get_output_tensor(index).data)
            for index, spec in enumerate(self._model.outputs)
        }

    def _time(self, inputs: Mapping[str, Array], repeats: int) -> float:
        self._bind(inputs)
        infer = self._request.infer
        start = perf_counter()
        for _ in range(repeats):
            infer()
        return perf_counter() - start

    def _close(self) -> None:
        self._request = None

    def _bind(self, inputs: Mapping[str, Array]) -> None:
        from openvino import Tensor

        for spec in self._model.inputs:
            array = np.ascontiguousarray(inputs[spec.name])
            self._request.set_tensor(spec.name, Tensor(array, shared_memory=False))
