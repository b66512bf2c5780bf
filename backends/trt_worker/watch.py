"""Watch: what NVML says of a GPU while something is timed; nothing is ever set.

Clocks that fall, a limit of power or temperature, and other processes on the GPU are why a time is
not what it was. They are read twenty times a second, in a thread.
"""

import ctypes
import os
import threading
from typing import Any, Dict, List, Optional, Set

_LIBRARY = "libnvidia-ml.so.1"
_PERIOD_S = 0.05
_SM, _MEMORY = 1, 2
_PROCESSES, _MOST_PROCESSES = 64, 4096
_INSUFFICIENT = 7
"""NVML's error where there are more than there was room for."""
_IDLE, _SETTING = 0x1, 0x2
"""Reasons for a lower clock that say nothing of the work: nothing to do, and a clock that a user
has set."""


class _Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint),
        ("memory", ctypes.c_ulonglong),
        ("instance", ctypes.c_uint),
        ("compute", ctypes.c_uint),
    ]


class Nvml:
    """One GPU as NVML sees it."""

    def __init__(self, pci: str) -> None:
        """Finds it by its PCI address.

        Raises:
            OSError: There is no NVML, or no such GPU.
        """
        self._own = {os.getpid()}
        self._library = ctypes.CDLL(_LIBRARY)
        self._check(self._library.nvmlInit_v2())
        self._gpu = ctypes.c_void_p()
        self._check(
            self._library.nvmlDeviceGetHandleByPciBusId_v2(pci.encode(), ctypes.byref(self._gpu))
        )
        self._before = self._processes()

    def opened(self) -> None:
        """This process has opened the GPU: whoever came since is it.

        In a container NVML tells the numbers that processes have outside of it.
        """
        self._own |= self._processes() - self._before

    def driver(self) -> str:
        """The version of the driver."""
        text = ctypes.create_string_buffer(96)
        self._check(self._library.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text))))
        return text.value.decode()

    def sample(self) -> Dict[str, Any]:
        """Clocks in MHz, why they are lower than they could be, watts, degrees, other processes."""
        return {
            "sm_mhz": self._number("nvmlDeviceGetClockInfo", ctypes.c_uint, _SM),
            "memory_mhz": self._number("nvmlDeviceGetClockInfo", ctypes.c_uint, _MEMORY),
            "reasons": self._number(
                "nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong
            ),
            "milliwatts": self._number("nvmlDeviceGetPowerUsage", ctypes.c_uint),
            "celsius": self._number("nvmlDeviceGetTemperature", ctypes.c_uint, 0),
            "processes": self._others(),
        }

    def millijoules(self) -> Optional[int]:
        """All energy since the driver was loaded; None on GPUs that do not count it."""
        return self._number("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong)

    def _others(self) -> List[int]:
        return sorted(self._processes() - self._own)

    def _processes(self) -> Set[int]:
        """The processes that compute on the GPU."""
        room = _PROCESSES
        while True:
            count, found = ctypes.c_uint(room), (_Process * room)()
            code = self._library.nvmlDeviceGetComputeRunningProcesses_v3(
                self._gpu, ctypes.byref(count), found
            )
            if code != _INSUFFICIENT or room >= _MOST_PROCESSES:
                break
            room *= 4
        return set() if code else {one.pid for one in found[: count.value]}

    def _number(self, name: str, kind: Any, *arguments: int) -> Optional[int]:
        value = kind()
        words = [ctypes.c_uint(argument) for argument in arguments]
        code = getattr(self._library, name)(self._gpu, *words, ctypes.byref(value))
        return None if code else int(value.value)

    def _check(self, code: int) -> None:
        if code:
            raise OSError(f"NVML answered with error {code}")


def find_nvml(pci: str) -> Optional[Nvml]:
    """NVML for a GPU; None where it is not to be had."""
    try:
        return Nvml(pci)
    except (AttributeError, OSError):
        return None


class Watch:
    """Samples in a thread while a `with` block runs; `told` says what was seen afterwards."""

    def __init__(self, nvml: Optional[Nvml]) -> None:
        """Keeps what is asked; None: nothing is."""
        self._nvml = nvml
        self._over = threading.Event()
        self._samples: List[Dict[str, Any]] = []
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._energy: Optional[int] = None

    def __enter__(self) -> "Watch":
        """Begins."""
        if self._nvml is not None:
            self._energy = self._nvml.millijoules()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends."""
        self._over.set()
        if self._nvml is not None:
            self._thread.join()
            now = self._nvml.millijoules()
            before, self._energy = self._energy, None
            if now is not None and before is not None:
                self._energy = now - before

    def told(self) -> Dict[str, Any]:
        """Least and largest clock, all reasons, the highest temperature, others, millijoules."""
        if not self._samples:
            return {}
        clocks = [s["sm_mhz"] for s in self._samples if s["sm_mhz"] is not None]
        reasons = 0
        for sample in self._samples:
            reasons |= (sample["reasons"] or 0) & ~(_IDLE | _SETTING)
        return {
            "samples": len(self._samples),
            "sm_mhz": [min(clocks), max(clocks)] if clocks else None,
            "reasons": reasons,
            "celsius": max((s["celsius"] or 0) for s in self._samples),
            "processes": sorted({pid for s in self._samples for pid in s["processes"]}),
            "millijoules": self._energy,
        }

    def _sample(self) -> None:
        assert self._nvml is not None
        while True:
            self._samples.append(self._nvml.sample())
            if self._over.wait(_PERIOD_S):
                return
