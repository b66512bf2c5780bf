"""Stand-in for `pycuda.driver`: device memory is the host's, and streams work when waited for.

It has what backends/trt_worker calls, with the names and errors of pycuda 2026.1, and nothing else.
`STAND_IN_MEMORY` is how many bytes the device has; `STAND_IN_GPU=none` takes it away.
"""

import ctypes
import os
import time

import numpy as np

_TOTAL = int(os.environ.get("STAND_IN_MEMORY", str(2**30)))
_used = 0
broken = False
"""Whether a kernel has failed: every call fails from then on."""


class Error(Exception):
    pass


class MemoryError(Error):
    pass


class LogicError(Error):
    pass


class RuntimeError(Error):
    pass


class device_attribute:
    L2_CACHE_SIZE = 38
    MULTIPROCESSOR_COUNT = 16


_ATTRIBUTES = {38: 64 * 1024, 16: 2}


def init(flags=0):
    if os.environ.get("STAND_IN_GPU") == "none":
        raise RuntimeError("cuInit failed: no CUDA-capable device is detected")


def get_driver_version():
    return 13000


def mem_get_info():
    return _TOTAL - _used, _TOTAL


class _Context:
    def push(self):
        pass

    def detach(self):
        pass

    @staticmethod
    def pop():
        pass


class Device:
    def __init__(self, number):
        self._number = number

    def retain_primary_context(self):
        return _Context()

    def name(self):
        return os.environ.get("STAND_IN_GPU", "Stand-in GPU")

    def compute_capability(self):
        return 8, 9

    def get_attribute(self, attribute):
        return _ATTRIBUTES[attribute]

    def pci_bus_id(self):
        return "0000:00:00.0"


class Stream:
    """Does what is put on it when somebody waits for it, in order, and not before."""

    known: "dict[int, Stream]" = {}  # noqa: RUF012

    def __init__(self, flags=0):
        assert flags == 1, "a stream that the null stream waits for"
        self.handle = 1
        self._work = []
        Stream.known[self.handle] = self

    def put(self, work):
        if broken:
            raise LogicError("an illegal memory access was encountered")
        self._work.append(work)

    def synchronize(self):
        work, self._work = self._work, []
        for each in work:
            each()
        if broken:
            raise LogicError("an illegal memory access was encountered")


class Event:
    def record(self, stream):
        stream.put(self._note)
        return self

    def _note(self):
        self._at = time.perf_counter()

    def time_till(self, other):
        return (other._at - self._at) * 1000


class DeviceAllocation:
    def __init__(self, size):
        global _used
        if size > _TOTAL - _used:
            raise MemoryError("cuMemAlloc failed: out of memory")
        _used += size
        self._size = size
        self._memory = (ctypes.c_ubyte * size)()

    def __int__(self):
        return ctypes.addressof(self._memory)

    def free(self):
        global _used
        _used -= self._size
        self._memory = None


def mem_alloc(size):
    return DeviceAllocation(size)


def pagelocked_empty(shape, dtype):
    return np.empty(shape, dtype)


def memcpy_htod_async(destination, source, stream):
    assert source.nbytes <= destination._size
    stream.put(lambda: ctypes.memmove(int(destination), source.ctypes.data, source.nbytes))


def memcpy_dtoh_async(destination, source, stream):
    assert destination.nbytes <= source._size
    stream.put(lambda: ctypes.memmove(destination.ctypes.data, int(source), destination.nbytes))


def memset_d8_async(destination, value, count, stream):
    assert count <= destination._size
    stream.put(lambda: ctypes.memset(int(destination), value, count))
