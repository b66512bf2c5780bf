"""`ReferenceBackend`: a stand-in that computes with ONNX's evaluator and keeps its own clock.

Its time is a function of the graph alone, the same on every machine, so that whatever is built on
measured latencies can be tested anywhere. An engine's inference takes

    intercept + sum over nodes of (overhead + bytes read and written / bandwidth + MACs / rate)

with the constants below. Because the intercept is paid once per engine, a network takes slightly
less time than its blocks do one by one, as on a real device.
"""

import warnings
from collections.abc import Mapping
from math import isqrt, prod
from typing import ClassVar

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from onnx import GraphProto, ModelProto, NodeProto
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.reference import ReferenceEvaluator

from backends.backend import Array, Backend, Engine
from backends.model import ExportedModel
from targets.errors import UsageError
from targets.target import Target

INTERCEPT_SECONDS = 20e-6
"""Paid once per inference of an engine."""
NODE_SECONDS = 2e-6
"""Paid once per node."""
BYTES_PER_SECOND = 10e9
"""Every input and output of a node is read or written once."""
MACS_PER_SECOND = 20e9
"""Multiply-accumulates of Conv, ConvTranspose, Gemm and MatMul."""
LOAD_BYTES_PER_SECOND = 1e9
"""Loading reads the model's bytes once."""

_Tensors = dict[str, tuple[tuple[int, ...], int]]


class ReferenceBackend(Backend):
    """Runs any model, slowly and exactly, on a deterministic clock."""

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "reference"

    def unavailable(self) -> str | None:
        """It can be used wherever derycc can."""
        return None

    def versions(self) -> dict[str, str]:
        """The version of onnx, whose evaluator computes."""
        return {"onnx": str(onnx.__version__)}

    def compile(self, model: ExportedModel, target: Target) -> Engine:
        """Prepares the evaluator and adds up the time of one inference."""
        proto = ModelProto.FromString(model.onnx)
        try:
            evaluator = ReferenceEvaluator(proto)
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise UsageError(
                f"The reference backend cannot load the model {model.name!r}: {error}. "
                f"Export it with operators of the ONNX standard."
            ) from error
        return ReferenceEngine(model, evaluator, inference_seconds(proto))


class ReferenceEngine(Engine):
    """One evaluator and the seconds that one inference is said to take."""

    simulated: ClassVar[bool] = True

    def __init__(self, model: ExportedModel, evaluator: ReferenceEvaluator, seconds: float) -> None:
        """Keeps the evaluator and the time of one inference in seconds."""
        super().__init__(model, len(model.onnx) / LOAD_BYTES_PER_SECOND)
        self._evaluator: ReferenceEvaluator | None = evaluator
        self._seconds = seconds

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        assert self._evaluator is not None
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                values = self._evaluator.run(None, dict(inputs))
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                reason = " ".join(str(error).split())[:300]
                raise UsageError(
                    f"The reference backend cannot run the model {self._model.name!r}: {reason}. "
                    f"Export it with operators of the ONNX standard."
                ) from error
        names = (spec.name for spec in self._model.outputs)
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    def _time(self, inputs: Mapping[str, Array], repeats: int) -> float:
        return self._seconds * repeats

    def _close(self) -> None:
        self._evaluator = None


def inference_seconds(proto: ModelProto) -> float:
    """Seconds of one inference on the reference clock; see the module for the formula.

    Tensors whose shape onnx cannot infer count nothing; a node with subgraphs counts its overhead.
    """
    known = _tensors(proto)
    return INTERCEPT_SECONDS + sum(_node_seconds(node, known) for node in proto.graph.node)


def _node_seconds(node: NodeProto, known: _Tensors) -> float:
    names = [name for name in (*node.input, *node.output) if name in known]
    moved = sum(prod(known[name][0]) * known[name][1] for name in names)
    return NODE_SECONDS + moved / BYTES_PER_SECOND + macs(node, known) / MACS_PER_SECOND


def macs(node: NodeProto, known: Mapping[str, tuple[tuple[int, ...], int]]) -> int:
    """Multiply-accumulates of one node, from the shape and item size of each tensor."""
    needed = (*node.input[:2], *node.output[:1])
    if node.op_type not in _MACS or any(name not in known for name in needed):
        return 0
    left, right, out = (known[name][0] for name in needed)
    return _MACS[node.op_type](left, right, out)


def _convolution(data: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...]) -> int:
    return prod(out) * prod(weight[1:])


def _transposed(data: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...]) -> int:
    return prod(data) * prod(weight[1:])


def _product(left: tuple[int, ...], right: tuple[int, ...], out: tuple[int, ...]) -> int:
    return prod(out) * left[-1] if left else 0


def _gemm(left: tuple[int, ...], right: tuple[int, ...], out: tuple[int, ...]) -> int:
    # (m k)(k n)(m n) = (m n k)^2, whichever of the factors is transposed.
    return isqrt(prod(left) * prod(right) * prod(out))


_MACS = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _product,
}


def _tensors(proto: ModelProto) -> _Tensors:
    """Shape and item size of every tensor of the main graph that onnx can infer."""
    graph = _inferred(proto)
    known: _Tensors = {
        tensor.name: (tuple(tensor.dims), tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
        for tensor in graph.initializer
    }
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        sizes = [dim.dim_value for dim in tensor.shape.dim if dim.HasField("dim_value")]
        if tensor.HasField("shape") and len(sizes) == len(tensor.shape.dim):
            known[value.name] = (tuple(sizes), tensor_dtype_to_np_dtype(tensor.elem_type).itemsize)
    return known


def _inferred(proto: ModelProto) -> GraphProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except (EncodeError, onnx.shape_inference.InferenceError):
        return proto.graph
