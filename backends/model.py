"""`ExportedModel`: the waist between the networks above and the runtimes below."""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, ValueInfoProto
from onnx.checker import ValidationError, check_model
from onnx.helper import tensor_dtype_to_np_dtype

from backends.identity import Identity, identify, tensors
from targets.errors import UsageError

_LAYOUTS = {1: "N", 2: "NC", 3: "NLC", 4: "NCHW", 5: "NCDHW"}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, static shape, numpy dtype name and layout of one tensor at a model's edge.

    Attributes:
        name: The value's name in the ONNX graph.
        shape: Its static shape; every dimension is at least 1.
        dtype: A numpy dtype name such as `float32`.
        layout: What the dimensions mean, one letter each, such as `NCHW`, `NLC`, `NHWC`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = "NCHW"

    def __post_init__(self) -> None:
        """Checks the dimensions and the dtype's name."""
        if any(size < 1 for size in self.shape):
            raise UsageError(
                f"Tensor {self.name!r} has the shape {self.shape}; every dimension must be a whole "
                f"number of at least 1. Export the model with static shapes."
            )
        try:
            np.dtype(self.dtype)
        except TypeError:
            raise UsageError(
                f"Tensor {self.name!r} has the dtype {self.dtype!r}, which numpy does not know. "
                f"Use a numpy dtype name such as float32."
            ) from None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """An ONNX model with its tensor specs and its content hashes.

    Attributes:
        onnx: The serialized `ModelProto`, weights inside.
        inputs: Specs of the graph inputs, in order.
        outputs: Specs of the graph outputs, in order.
        name: A name for people; it takes no part in the hashes.
    """

    onnx: bytes = field(repr=False)
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    name: str = ""
    _memo: dict[str, Identity] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def from_bytes(cls, onnx: bytes, name: str = "") -> "ExportedModel":
        """Reads a serialized ONNX model and checks it.

        Args:
            onnx: The serialized `ModelProto`.
            name: A name for people; the graph's own name where empty.

        Raises:
            UsageError: It is no valid ONNX, has dynamic shapes, or keeps weights in other files.
        """
        proto = _parse(onnx, name)
        graph = proto.graph
        held = {tensor.name for tensor in graph.initializer}
        return cls(
            onnx=onnx,
            inputs=tuple(_spec(value) for value in graph.input if value.name not in held),
            outputs=tuple(_spec(value) for value in graph.output),
            name=name or graph.name,
        )

    @classmethod
    def load(cls, path: str | Path) -> "ExportedModel":
        """Reads a model from a file; its name is the file's stem.

        Raises:
            UsageError: The file cannot be read or holds no usable model.
        """
        file = Path(path)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UsageError(
                f"Cannot read the model file {str(file)!r}: {error.strerror}. Check the path."
            ) from error
        return cls.from_bytes(content, name=file.stem)

    def save(self, path: str | Path) -> Path:
        """Writes the ONNX bytes to a file, whole or not at all.

        Raises:
            UsageError: The file cannot be written.
        """
        file = Path(path)
        try:
            _write(file, self.onnx)
        except OSError as error:
            raise UsageError(
                f"Cannot write the model file {str(file)!r}: {error.strerror}. "
                f"Choose a folder that exists and can be written."
            ) from error
        return file

    @property
    def key(self) -> str:
        """sha256 (hex) of the canonical graph and its weights; names of values do not count."""
        return self._identity.key

    @property
    def structure(self) -> str:
        """sha256 (hex) of what decides the latency: the graph without the values of its weights."""
        return self._identity.structure

    @property
    def nodes(self) -> int:
        """Number of nodes of the main graph."""
        return self._identity.nodes

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants, those of subgraphs included."""
        graph = ModelProto.FromString(self.onnx).graph
        return sum(
            prod(tensor.dims) * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            for tensor in tensors(graph)
        )

    @property
    def params(self) -> int:
        """Number of elements of all floating-point initializers."""
        return self._identity.params

    @property
    def _identity(self) -> Identity:
        if "identity" not in self._memo:
            self._memo["identity"] = identify(ModelProto.FromString(self.onnx))
        return self._memo["identity"]


def _parse(onnx: bytes, name: str) -> ModelProto:
    label = f"The model {name!r}" if name else "The model"
    try:
        proto = ModelProto()
        proto.ParseFromString(onnx)
    except DecodeError as error:
        raise UsageError(
            f"{label} cannot be read as ONNX ({len(onnx)} bytes are no ModelProto). "
            f"Give a file that was written by an ONNX exporter."
        ) from error
    if _external(tensors(proto.graph)):
        raise UsageError(
            f"{label} keeps weights in other files (external data). Save it as one file, e.g. with "
            f"onnx.save_model(model, path, save_as_external_data=False)."
        )
    if proto.graph.sparse_initializer:
        raise UsageError(f"{label} has sparse initializers. Export it with dense weights.")
    try:
        check_model(proto)
    except ValidationError as error:
        raise UsageError(
            f"{label} is no valid ONNX: {_first_line(error)} Export it again."
        ) from error
    return proto


def _external(held: Iterable[TensorProto]) -> bool:
    return any(tensor.data_location == TensorProto.EXTERNAL for tensor in held)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") + "." if lines else "unknown reason."


def _spec(value: ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise UsageError(
            f"The value {value.name!r} at the model's edge is no tensor with a shape. "
            f"Export the model with tensors of static shapes at its edges."
        )
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if any(size is None for size in dims):
        names = [dim.dim_param or str(dim.dim_value) for dim in tensor.shape.dim]
        raise UsageError(
            f"The tensor {value.name!r} has a dynamic shape ({', '.join(names)}). "
            f"Export the model with static shapes: latency is measured at one shape."
        )
    shape = tuple(size for size in dims if size is not None)
    dtype = tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(value.name, shape, dtype, _LAYOUTS.get(len(shape), ""))


def _write(file: Path, content: bytes) -> None:
    handle, part = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(part).chmod(0o644)
        Path(part).replace(file)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
