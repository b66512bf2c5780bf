"""Bounds: what a graph may contain that somebody else may have written.

A network for pictures has static shapes and no control flow. So whatever loops, branches, calls
functions, reads other files or makes a tensor too large to be one of a network's is refused before
a runtime sees it.
"""

from math import prod

from onnx import ModelProto, TensorProto, ValueInfoProto
from onnx.defs import onnx_opset_version
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.shape_inference import InferenceError, infer_shapes

from backends.identity import has_branches, tensors
from targets.errors import UsageError

MOST_BYTES = 2**30
"""Bytes of one weight."""
MOST_ELEMENTS = 2**28
"""Elements of one tensor that is computed."""
MOST_NODES = 100_000

_SHAPE_BYTES = 4096
"""Larger tensors are weights, whose numbers no shape follows from."""
_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})
_GROWING = frozenset(
    {"ConstantOfShape", "Expand", "EyeLike", "OneHot", "Pad", "Range", "Resize", "Tile", "Upsample"}
    | {"RandomNormal", "RandomUniform", "MaxUnpool", "ConvTranspose", "Reshape", "NonZero"}
    | {"AveragePool", "Conv", "LpPool", "MaxPool"}
)
"""Operators whose answer may be larger than what they are given."""


def check_bounds(proto: ModelProto, name: str) -> None:
    """Refuse a graph that no network for pictures is.

    Args:
        proto: its weights and what it says of shapes inside are forgotten, so that this is no model
            to go on with.
        name: what messages call it.

    Raises:
        UsageError: naming what is not allowed.
    """
    fault = _structure(proto) or _weights(proto) or _values(proto)
    if fault:
        raise UsageError(
            f"The model {name!r} {fault}. No network for pictures needs that, so it is not loaded. "
            "Build again, or restore it."
        )


def _structure(proto: ModelProto) -> str:
    if len(proto.graph.node) > MOST_NODES:
        return f"has {len(proto.graph.node)} nodes"
    if proto.functions:
        return "has functions of its own"
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx") and not 1 <= entry.version <= onnx_opset_version():
            return f"is written in opset {entry.version}, which onnx does not know here"
    for node in proto.graph.node:
        if node.domain not in _DOMAINS:
            return f"has the operator {node.domain!r:.60}::{node.op_type!r:.60}"
        if has_branches(node):
            return f"has control flow ({node.op_type!r:.60})"
    return ""


def _weights(proto: ModelProto) -> str:
    for tensor in tensors(proto.graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            return "keeps weights in other files"
        if any(dim < 0 for dim in tensor.dims) or tensor.data_type in (0, TensorProto.STRING):
            return f"has a weight {tensor.name!r:.60} that holds no numbers"
        try:
            size = prod(tensor.dims) * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except KeyError:
            return f"has a weight {tensor.name!r:.60} of an unknown type"
        if size > MOST_BYTES:
            return f"has a weight {tensor.name!r:.60} of {size} bytes"
        packed = tensor.data_type in (TensorProto.INT4, TensorProto.UINT4)
        if tensor.HasField("raw_data") and len(tensor.raw_data) != size and not packed:
            return f"has a weight {tensor.name!r:.60} with other data than its shape says"
    return ""


def _values(proto: ModelProto) -> str:
    """Shapes as they follow from the inputs, whatever the file says of them."""
    _forget(proto)
    try:
        graph = infer_shapes(proto, data_prop=True).graph
    except (InferenceError, ValueError, RuntimeError) as error:
        return f"has shapes that do not fit ({str(error).splitlines()[0][:200]})"
    sizes = _sizes([*graph.value_info, *graph.input, *graph.output])
    for name, size in sizes.items():
        if not 0 <= size <= MOST_ELEMENTS:
            return f"makes a tensor {name!r:.60} of {size} elements"
    for node in graph.node:
        unknown = [name for name in node.output if name and name not in sizes]
        if unknown and node.op_type in _GROWING:
            return f"makes a tensor {unknown[0]!r:.60} of no known size"
    return ""


def _forget(proto: ModelProto) -> None:
    """Empties weights, and takes away all shapes but those of the inputs."""
    for tensor in tensors(proto.graph):
        if tensor.ByteSize() > _SHAPE_BYTES:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")


def _sizes(values: list[ValueInfoProto]) -> dict[str, int]:
    """Elements of every tensor of a known shape."""
    shaped = [(v.name, v.type.tensor_type) for v in values if v.type.tensor_type.HasField("shape")]
    return {
        name: prod(dim.dim_value for dim in kind.shape.dim)
        for name, kind in shaped
        if all(dim.HasField("dim_value") for dim in kind.shape.dim)
    }
