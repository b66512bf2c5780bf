"""Peak memory of this process, as Linux counts it."""

import ctypes
from pathlib import Path

_PROCESS = Path("/proc/self")
_KIB = 1024


def reset_peak(process: Path = _PROCESS) -> int | None:
    """Gives unused memory back, lets the peak be counted anew, and returns what is held now.

    Takes a millisecond, and later faults pages in again: not to be called while something is
    timed.

    Args:
        process: The process's folder in /proc.

    Returns:
        Bytes of memory that the process holds; None where the system does not count peaks.
    """
    reset = process / "clear_refs"
    if not reset.exists():
        return None
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "malloc_trim"):  # not every C library has it
        allocator.malloc_trim(0)
    try:
        reset.write_text("5")
    except OSError:
        return None
    return _status(process, "VmRSS")


def peak_since(before: int | None, process: Path = _PROCESS) -> int | None:
    """Bytes that the process has held at most since `reset_peak`, above what it held then.

    Args:
        before: What `reset_peak` returned.
        process: The process's folder in /proc.
    """
    peak = _status(process, "VmHWM")
    if before is None or peak is None:
        return None
    return max(0, peak - before)


def _status(process: Path, field: str) -> int | None:
    try:
        lines = (process / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith(field)), None)
