"""Buffers: memory for every tensor of an engine, on the device in as many sets as are asked for.

Everything is put on the device's stream: the stream that is null does not wait for it, and is not
waited for. Copies go by page-locked memory, which alone is copied in the order of the stream.
"""

from typing import Any, Dict, List

import numpy as np

from backends.trt_worker.cuda import Device
from backends.trt_worker.faults import Fault
from backends.trt_worker.runtime import word

_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
"""TensorRT's types by numpy's names. Its own `nptype` fails on some versions with a new numpy."""


class Tensor:
    """An input or output of an engine, of a fixed shape.

    Attributes:
        name: In the graph.
        is_input: Else it is an output.
        dtype: Of numpy.
        shape: As it is run.
        bytes: That its elements take.
    """

    def __init__(self, trt: Any, engine: Any, context: Any, name: str) -> None:
        """Reads what the engine says of it.

        Raises:
            Fault: `run` where its type or shape is none that is driven.
        """
        self.name = name
        self.is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        kind = word(engine.get_tensor_dtype(name))
        if kind not in _TYPES:
            raise Fault("run", f"the tensor {name!r} is of type {kind}, which numpy lacks")
        self.dtype = np.dtype(_TYPES[kind])
        self.shape = tuple(context.get_tensor_shape(name))
        if any(size < 0 for size in self.shape):
            raise Fault("run", f"the shape of {name!r} is not fixed: {self.shape}")
        self.bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class Buffers:
    """One set of device memory: an allocation for every tensor."""

    def __init__(self, device: Device, tensors: List[Tensor]) -> None:
        """Allocates it, and fills it with zeros.

        Raises:
            Fault: `memory`.
        """
        self._device = device
        self.memory: Dict[str, Any] = {}
        try:
            for tensor in tensors:
                self.memory[tensor.name] = device.allocate(tensor.bytes)
                self.fill(tensor, 0)
        except Fault:
            self.free()
            raise

    def bind(self, context: Any) -> None:
        """Has the next run read and write this set."""
        for name, memory in self.memory.items():
            context.set_tensor_address(name, int(memory))

    def fill(self, tensor: Tensor, byte: int) -> None:
        """Fills a tensor with a byte."""
        device = self._device
        size = max(1, tensor.bytes)
        device.cuda.memset_d8_async(self.memory[tensor.name], byte, size, device.stream)

    def free(self) -> None:
        """Frees all of it."""
        while self.memory:
            self.memory.popitem()[1].free()


class Host:
    """Page-locked memory for every tensor."""

    def __init__(self, device: Device, tensors: List[Tensor]) -> None:
        """Allocates it."""
        self._device = device
        self._flat = {t.name: device.page_locked(max(1, t.bytes)) for t in tensors}
        self._arrays = {
            t.name: self._flat[t.name][: t.bytes].view(t.dtype).reshape(t.shape) for t in tensors
        }

    def upload(self, name: str, array: Any, sets: List[Buffers]) -> None:
        """Puts copies of an array to its place in some sets on the stream."""
        np.copyto(self._arrays[name], array)
        for buffers in sets:
            self._device.cuda.memcpy_htod_async(
                buffers.memory[name], self._flat[name], self._device.stream
            )

    def download(self, name: str, buffers: Buffers) -> Any:
        """Puts the copy of an output on the stream; the array has it when that was waited for."""
        self._device.cuda.memcpy_dtoh_async(
            self._flat[name], buffers.memory[name], self._device.stream
        )
        return self._arrays[name]
