"""Small ONNX graphs for the tests of folding, and a runtime that rewrites nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from backends.model import ExportedModel
from compiler.folding import Folded, fold

Array = NDArray[np.float32]


def conv(
    source: str,
    made: str,
    weight: Array,
    bias: Array | None = None,
    **attributes: object,
) -> tuple[NodeProto, dict[str, Array]]:
    """A convolution and its weights."""
    weights = {f"{made}.w": weight} | ({} if bias is None else {f"{made}.b": bias})
    return helper.make_node("Conv", [source, *weights], [made], **attributes), weights


def numbers(seed: int, *shape: int) -> Array:
    """Seeded normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def graph(
    nodes: Sequence[NodeProto],
    weights: dict[str, Array],
    shape: Sequence[int],
    answer: str = "y",
) -> ExportedModel:
    """A model of one input `x` of this shape; the shape of its answer is found by running it."""
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))

    def model(out: Sequence[int] | None) -> bytes:
        y = helper.make_tensor_value_info(answer, TensorProto.FLOAT, out)
        made = helper.make_graph(nodes, "case", [x], [y], held)
        opset = helper.make_opsetid("", 18)
        proto = helper.make_model(made, opset_imports=[opset], ir_version=10)
        return bytes(proto.SerializeToString())

    (found,) = ReferenceEvaluator(model(None)).run(None, {"x": np.zeros(shape, np.float32)})
    return ExportedModel.from_bytes(model(found.shape))


def run(model: ExportedModel, x: Array) -> Array:
    """What the model answers, by ONNX's own reference, which rewrites nothing."""
    (y,) = ReferenceEvaluator(model.onnx).run(None, {model.inputs[0].name: x})
    return np.asarray(y)


def folded_alike(model: ExportedModel) -> Folded:
    """Folds a model and demands that it still answers the same."""
    folded = fold(model)
    x = numbers(99, *model.inputs[0].shape)
    expected = run(model, x)
    difference = np.abs(run(folded.model, x) - expected).max(initial=0.0)
    assert difference <= 1e-5 * max(1.0, float(np.abs(expected).max(initial=0.0)))
    return folded
