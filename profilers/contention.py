"""How much other programs got in the way: `Load` now and `Load` later say it."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_IDLE = (3, 4)  # fields of a line of /proc/stat: idle, and idle with a disk at work
_STOLEN = 7  # given to another virtual machine by the host


@dataclass(frozen=True, slots=True)
class Load:
    """What the system has counted up to a moment, in seconds.

    Attributes:
        clock: The monotonic clock.
        own: Processor time of this process, all threads together.
        waited: For each thread of this process, how long it was ready but had no processor.
        idle: Idle time of all processors together; None where the system does not tell.
        stolen: Time that the host of a virtual machine took away, all processors together.
        processors: How many processors `idle` and `stolen` are of.
        tick: The steps in which `idle` and `stolen` are counted.
    """

    clock: float
    own: float
    waited: Mapping[int, float]
    idle: float | None = None
    stolen: float = 0.0
    processors: int = 1
    tick: float = 0.0

    @classmethod
    def now(cls, proc: Path = _PROC) -> "Load":
        """Reads the counters; `proc` stands for /proc."""
        clock, own = time.monotonic(), time.process_time()
        tick = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.0
        lines = [line.split() for line in _read(proc / "stat").splitlines()]
        counts = [line for line in lines if line and line[0].startswith("cpu")]
        if not counts:
            return cls(clock, own, _waited(proc))
        total = [int(text) for text in counts[0][1:]]
        return cls(
            clock,
            own,
            _waited(proc),
            idle=sum(total[field] for field in _IDLE) * tick,
            stolen=total[_STOLEN] * tick if len(total) > _STOLEN else 0.0,
            processors=max(1, len(counts) - 1),
            tick=tick,
        )

    def contention(self, later: "Load") -> float | None:
        """The share of the time from here to `later`, 0 to 1, that others took from this process.

        The largest of three: how long one of this process's threads waited for a processor; how
        much of all processors' time others used, because a neighbour on another core takes clock
        speed, cache and memory bandwidth without making anyone wait; and how much the host of a
        virtual machine took. The second and third are counted in ticks, which get the benefit of
        the doubt.

        Returns:
            None where the system tells nothing of this, or no time has passed.
        """
        seconds = later.clock - self.clock
        if seconds <= 0:
            return None
        shares = [
            (waited - self.waited.get(thread, 0.0)) / seconds
            for thread, waited in later.waited.items()
        ]
        if self.idle is not None and later.idle is not None:
            all_seconds = later.processors * seconds
            unsure = later.processors * later.tick
            busy = all_seconds - (later.idle - self.idle) - unsure
            shares.append((busy - (later.own - self.own)) / all_seconds)
            shares.append((later.stolen - self.stolen - later.tick) / seconds)
        return min(1.0, max(0.0, *shares)) if shares else None


def _waited(proc: Path) -> dict[int, float]:
    """Seconds that each thread of this process was ready to run and did not."""
    waited = {}
    for file in (proc / "self/task").glob("*/schedstat"):
        fields = _read(file).split()  # ran and waited, in nanoseconds, and how many times
        if len(fields) == 3:
            waited[int(file.parent.name)] = int(fields[1]) / 1e9
    return waited


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # a thread may have ended since it was listed
        return ""
