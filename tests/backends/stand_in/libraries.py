"""Stand-ins for the driver's library and NVML, as ctypes would load them.

Graphs hold what TensorRT's stand-in put on the stream while it was captured, addresses included.

    STAND_IN_DRIVER    none: neither library is there; refuse: no stream can be captured
    STAND_IN_OTHERS    numbers of other processes on the GPU, joined by commas
"""

import ctypes
import os

import pycuda_driver

DRIVER = os.environ.get("STAND_IN_DRIVER", "")

capturing = None
"""What is put on the stream while it is captured; None: nothing is."""

_graphs = []


def enqueue(work, stream):
    """Puts work on a stream, or into the graph that is being captured of it."""
    if capturing is None:
        stream.put(work)
    else:
        capturing.append(work)


class _Driver:
    """The calls of libcuda.so.1 for graphs; each returns an error number, 0 for none."""

    def cuStreamBeginCapture_v2(self, stream, mode):
        global capturing
        if DRIVER == "refuse":
            return 900
        assert capturing is None
        capturing = []
        return 0

    def cuStreamEndCapture(self, stream, graph):
        global capturing
        _graphs.append(capturing)
        capturing = None
        graph._obj.value = len(_graphs)
        return 0

    def cuGraphInstantiateWithFlags(self, executable, graph, flags):
        executable._obj.value = graph.value
        return 0

    def cuGraphUpload(self, executable, stream):
        return 0

    def cuGraphLaunch(self, executable, stream):
        for work in _graphs[executable.value - 1]:
            pycuda_driver.Stream.known[stream.value].put(work)
        return 0

    def cuGraphDestroy(self, graph):
        return 0

    def cuGraphExecDestroy(self, executable):
        assert _graphs[executable.value - 1] is not None, "freed twice"
        _graphs[executable.value - 1] = None
        return 0


class _Nvml:
    """The calls of libnvidia-ml.so.1 that only read."""

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByPciBusId_v2(self, pci, gpu):
        gpu._obj.value = 1
        return 0

    def nvmlSystemGetDriverVersion(self, text, length):
        text.value = b"580.105.08"
        return 0

    def nvmlDeviceGetClockInfo(self, gpu, kind, value):
        value._obj.value = {1: 1980, 2: 3201}[kind.value]
        return 0

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu, value):
        value._obj.value = 0x1
        return 0

    def nvmlDeviceGetPowerUsage(self, gpu, value):
        value._obj.value = 120_000
        return 0

    def nvmlDeviceGetTemperature(self, gpu, sensor, value):
        value._obj.value = 41
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu, value):
        return 3  # not supported

    def nvmlDeviceGetComputeRunningProcesses_v3(self, gpu, count, found):
        """As in a container: this process has another number there, once it uses the GPU."""
        pids = [int(pid) for pid in os.environ.get("STAND_IN_OTHERS", "").split(",") if pid]
        if pycuda_driver.Stream.known:
            pids.append(90_000)
        room, count._obj.value = count._obj.value, len(pids)
        if len(pids) > room:
            return 7
        for place, pid in zip(found, pids, strict=False):
            place.pid = pid
        return 0


def install():
    """Has ctypes load these."""
    original = ctypes.CDLL
    known = {} if DRIVER == "none" else {"libcuda.so.1": _Driver, "libnvidia-ml.so.1": _Nvml}

    def load(name, *words, **more):
        return known[name]() if name in known else original(name, *words, **more)

    ctypes.CDLL = load
