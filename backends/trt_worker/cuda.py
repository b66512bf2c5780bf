"""CUDA: the device's primary context, memory and streams by pycuda, graphs by the driver itself.

pycuda has no calls for graphs. The primary context is the one that TensorRT, torch and cupy use;
pycuda's `autoinit` would make another.
"""

import ctypes
from typing import Any, Callable, Dict, List

from backends.trt_worker.faults import Fault

_NON_BLOCKING = 1
_THREAD_LOCAL = 1
_LIBRARY = "libcuda.so.1"


class Device:
    """A GPU whose primary context is current in this thread."""

    def __init__(self, index: int = 0) -> None:
        """Makes its primary context current.

        Raises:
            Fault: `runtime` where pycuda is missing, `device` where there is no such GPU.
        """
        self.cuda = cuda = _driver()
        try:
            self._device = cuda.Device(index)
            self._context = self._device.retain_primary_context()
            self._context.push()
            self.stream = cuda.Stream(_NON_BLOCKING)
        except cuda.Error as error:
            raise Fault("device", str(error)) from error
        self.graphs = Graphs(self.stream.handle)
        self.l2_bytes = int(self._device.get_attribute(cuda.device_attribute.L2_CACHE_SIZE))

    def facts(self) -> Dict[str, Any]:
        """Name, compute capability, driver, memory in bytes, L2 in bytes, multiprocessors."""
        cuda, device = self.cuda, self._device
        major, minor = device.compute_capability()
        attributes = cuda.device_attribute
        free, total = cuda.mem_get_info()
        return {
            "gpu": device.name(),
            "capability": major * 10 + minor,
            "cuda_driver": cuda.get_driver_version(),
            "memory_bytes": total,
            "free_bytes": free,
            "l2_bytes": self.l2_bytes,
            "multiprocessors": device.get_attribute(attributes.MULTIPROCESSOR_COUNT),
        }

    @staticmethod
    def address(index: int = 0) -> str:
        """A GPU's PCI address; makes no context.

        Raises:
            Fault: As for the class.
        """
        cuda = _driver()
        try:
            return str(cuda.Device(index).pci_bus_id())
        except cuda.Error as error:
            raise Fault("device", str(error)) from error

    @property
    def sound(self) -> bool:
        """Whether the context is still of use: after a fault in a kernel every call fails."""
        try:
            self.stream.synchronize()
        except self.cuda.Error:
            return False
        return True

    def allocate(self, size: int) -> Any:
        """Device memory of so many bytes, at least one.

        Raises:
            Fault: `memory` where there is not as much.
        """
        try:
            return self.cuda.mem_alloc(max(1, size))
        except self.cuda.MemoryError as error:
            free, total = self.cuda.mem_get_info()
            raise Fault(
                "memory", f"{size} bytes are wanted, and {free} of {total} are free"
            ) from error

    def page_locked(self, size: int) -> Any:
        """Bytes of the host that are copied in the order of the stream."""
        return self.cuda.pagelocked_empty((size,), "uint8")

    def close(self) -> None:
        """Leaves the context; whatever was allocated must be freed before."""
        try:
            self.stream.synchronize()
        finally:
            self._context.pop()
            self._context.detach()


def _driver() -> Any:
    """Pycuda's driver module, initialized."""
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        kind = "device" if "libcuda" in str(error) else "runtime"
        raise Fault(kind, f"pycuda cannot be imported: {error}") from error
    try:
        cuda.init()
    except cuda.Error as error:
        raise Fault("device", str(error)) from error
    return cuda


class Graphs:
    """CUDA graphs of one stream, by the driver's own functions."""

    def __init__(self, stream: int) -> None:
        """Keeps the stream's handle."""
        self._stream = ctypes.c_void_p(stream)
        self._library: Any = None

    def capture(self, enqueue: Callable[[], bool]) -> "Graph":
        """What `enqueue` puts on the stream, as a graph; it is not run.

        Raises:
            Fault: `run` where the stream cannot be captured or `enqueue` says False.
        """
        self._open()
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_THREAD_LOCAL))
        done = False
        try:
            done = enqueue()
        finally:
            # Ends the capture, whatever came of it: the stream would be of no use otherwise.
            code = self._library.cuStreamEndCapture(self._stream, ctypes.byref(graph))
            if not done and not code:
                self._library.cuGraphDestroy(graph)
        if not done or code:
            raise Fault("run", f"the work cannot be captured as a graph (CUDA error {code})")
        try:
            self._call(
                "cuGraphInstantiateWithFlags",
                ctypes.byref(executable),
                graph,
                ctypes.c_ulonglong(0),
            )
        finally:
            self._library.cuGraphDestroy(graph)
        try:
            self._call("cuGraphUpload", executable, self._stream)
        except Fault:
            self.destroy(executable)
            raise
        return Graph(self, executable)

    def launch(self, executable: ctypes.c_void_p) -> None:
        """Puts a graph on the stream."""
        self._call("cuGraphLaunch", executable, self._stream)

    def destroy(self, executable: ctypes.c_void_p) -> None:
        """Frees a graph."""
        self._library.cuGraphExecDestroy(executable)

    def _open(self) -> None:
        if self._library is None:
            try:
                self._library = ctypes.CDLL(_LIBRARY)
            except OSError as error:
                raise Fault("run", f"the driver's library cannot be loaded: {error}") from error

    def _call(self, name: str, *arguments: Any) -> None:
        function = getattr(self._library, name, None)
        if function is None:
            raise Fault("run", f"this driver has no {name}")
        code = function(*arguments)
        if code:
            raise Fault("run", f"{name} ended with CUDA error {code}")


class Graph:
    """Captured work, ready to be launched."""

    def __init__(self, graphs: Graphs, executable: ctypes.c_void_p) -> None:
        """Keeps the driver's handle."""
        self._graphs = graphs
        self._executable = executable

    def launch(self) -> None:
        """Puts it on its stream."""
        self._graphs.launch(self._executable)

    def destroy(self) -> None:
        """Frees it; before the context that it belongs to."""
        self._graphs.destroy(self._executable)


def milliseconds(pairs: List[Any]) -> float:
    """What passed between the events of all pairs, which have been waited for."""
    return float(sum(before.time_till(after) for before, after in pairs))
