"""`in_half`: a model in float16, but for what float16 is too coarse for; inputs and outputs stay.

Runtimes whose networks are strongly typed (TensorRT from 10 on) compute in the types that the graph
has. What sums over many elements, or takes exponentials, overflows at 65,504 or loses what matters:
normalizations, softmax and reductions stay in float32, between casts.
"""

import warnings

from onnx import ModelProto

from backends.model import ExportedModel
from targets.errors import TargetUnavailableError, UsageError

IN_FLOAT = (
    *("GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization"),
    *("ReduceL2", "ReduceMean", "ReduceSum", "Softmax", "Exp", "Log", "Pow"),
)
"""Operators that stay in float32."""


def in_half(model: ExportedModel) -> ExportedModel:
    """A model in float16.

    Raises:
        TargetUnavailableError: This onnxruntime has no converter.
        UsageError: The converter cannot convert it.
    """
    try:
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise TargetUnavailableError(
            f"A model cannot be converted to fp16: {error}. Install onnxruntime with its "
            "transformers tools (pip install onnxruntime)."
        ) from error
    proto = ModelProto.FromString(model.onnx)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights below the least number of float16
            made = convert_float_to_float16(
                proto, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *IN_FLOAT]
            )
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"The model {model.name!r} cannot be converted to fp16: {error}. Use fp32 for it."
        ) from error
    OnnxModel(made).topological_sort()  # casts of inputs were put last
    return ExportedModel.from_bytes(made.SerializeToString(), name=model.name)
