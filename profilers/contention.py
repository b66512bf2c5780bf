"""How busy the processors were beside what is measured: `Load` now and `Load` later say it."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from targets.machine import read_text

_PROC = Path("/proc")
_IDLE = (3, 4)  # fields of a line of /proc/stat: idle, and idle with a disk at work
_STOLEN = 7  # given to another virtual machine by the host
_STATES = 8  # fields up to `_STOLEN`; what follows is counted among these already


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
        counted: Time of all processors in all their states together.
    """

    clock: float
    own: float
    waited: Mapping[int, float]
    idle: float | None = None
    stolen: float = 0.0
    processors: int = 1
    tick: float = 0.0
    counted: float = 0.0

    @classmethod
    def now(cls, proc: Path = _PROC) -> "Load":
        """Reads the counters; `proc` stands for /proc."""
        clock, own = time.monotonic(), time.process_time()
        tick = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.0
        total, processors = _states(proc)
        if len(total) <= max(_IDLE):
            return cls(clock, own, _waited(proc))
        return cls(
            clock,
            own,
            _waited(proc),
            idle=sum(total[field] for field in _IDLE) * tick,
            stolen=total[_STOLEN] * tick if len(total) > _STOLEN else 0.0,
            processors=processors,
            tick=tick,
            counted=sum(total[:_STATES]) * tick,
        )

    def contention(self, later: "Load") -> float | None:
        """The share of the time from here to `later`, 0 to 1, in which processors were contended.

        The largest of three: how long one of this process's threads waited for a processor, be it
        for another program, for one of its own threads or for its container's quota; how much of
        all processors' time others used, because a neighbour on another core takes clock speed,
        cache and memory bandwidth without making anyone wait; and how much of it the host of a
        virtual machine took. The second and third are counted in ticks, which get the benefit of
        the doubt; a system whose ticks stand still does not tell them.

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
        told = self.idle is not None and later.counted > self.counted
        if told and self.idle is not None and later.idle is not None:
            all_seconds = later.processors * seconds
            unsure = later.processors * later.tick
            busy = all_seconds - (later.idle - self.idle) - unsure
            shares.append((busy - (later.own - self.own)) / all_seconds)
            shares.append((later.stolen - self.stolen - unsure) / all_seconds)
        return min(1.0, max(0.0, *shares)) if shares else None


def _states(proc: Path) -> tuple[list[int], int]:
    """Ticks of all processors together in each state, empty where unknown, and how many there are.

    A field that is no number ends what is known.
    """
    lines = [line.split() for line in read_text(proc / "stat").splitlines()]
    counts = [line for line in lines if line and line[0].startswith("cpu")]
    total = takewhile(str.isdecimal, counts[0][1:]) if counts else ()
    return [int(text) for text in total], max(1, len(counts) - 1)


def _waited(proc: Path) -> dict[int, float]:
    """Seconds that each thread of this process was ready to run and did not."""
    waited = {}
    for file in (proc / "self/task").glob("*/schedstat"):
        # A thread may have ended since it was listed, and says nothing then.
        fields = read_text(file).split()  # ran and waited, in nanoseconds, and how many times
        if len(fields) == 3 and fields[1].isdecimal():
            waited[int(file.parent.name)] = int(fields[1]) / 1e9
    return waited
