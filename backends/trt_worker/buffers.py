"""Buffers: device memory for every tensor of an engine, in as many sets as are asked for."""

from typing import Any, Dict, List

import numpy as np

from backends.trt_worker.cuda import Device
from backends.trt_worker.faults import Fault


class Tensor:
    """An input or output of an engine.

    Attributes:
        name: In the graph.
        is_input: Else it is an output.
        dtype: Of numpy.
        shape: As it is run.
        bytes: In device memory; more than the elements take where the format pads them.
    """

    def __init__(self, trt: Any, engine: Any, context: Any, name: str) -> None:
        """Reads what the engine says of it; every input's shape has been set before."""
        self.name = name
        self.is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        try:
            self.dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
        except (KeyError, TypeError) as error:
            raise Fault("run", f"the tensor {name!r} has a type that numpy lacks") from error
        self.shape = tuple(context.get_tensor_shape(name))
        if any(size < 0 for size in self.shape):
            raise Fault("run", f"the shape of {name!r} is not known: {self.shape}")
        self.bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class Buffers:
    """One set of device memory: an allocation for every tensor."""

    def __init__(self, device: Device, tensors: List[Tensor]) -> None:
        """Allocates it.

        Raises:
            Fault: `memory`.
        """
        self._device = device
        self._memory: Dict[str, Any] = {}
        try:
            for tensor in tensors:
                self._memory[tensor.name] = device.allocate(tensor.bytes)
        except Fault:
            self.free()
            raise

    def bind(self, context: Any) -> None:
        """Has the next run read and write this set."""
        for name, memory in self._memory.items():
            context.set_tensor_address(name, int(memory))

    def upload(self, name: str, array: Any) -> None:
        """Copies an array to its place, and waits for it."""
        self._device.cuda.memcpy_htod(self._memory[name], np.ascontiguousarray(array))

    def poison(self, tensor: Tensor) -> None:
        """Fills an output, so that one that is not written shows."""
        self._device.cuda.memset_d8(self._memory[tensor.name], 0xA5, max(1, tensor.bytes))

    def download(self, tensor: Tensor) -> Any:
        """An output as an array of page-locked memory."""
        array = self._device.cuda.pagelocked_empty(tensor.shape, tensor.dtype)
        if array.nbytes:
            self._device.cuda.memcpy_dtoh(array, self._memory[tensor.name])
        return array

    def free(self) -> None:
        """Frees all of it."""
        for memory in self._memory.values():
            memory.free()
        self._memory = {}
