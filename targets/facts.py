"""`Facts`: what of this machine decides which targets make sense on it."""

import os
from dataclasses import dataclass
from pathlib import Path

from targets.machine import (
    container_quota,
    cpu_flags,
    governor,
    power_mode,
    smt,
    turbo,
    usable_cores,
)

_ROOT = Path("/")

INT8_DOT_PRODUCTS = frozenset({"amx_int8", "asimddp", "avx512_vnni", "avx_vnni", "i8mm"})
"""Flags of instructions that add up products of 8 bits in 32; without them 16 bits overflow."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The processor and its state; None where the system does not tell.

    Attributes:
        cores: Physical cores that this process may use, by affinity and quota.
        processors: Logical processors that this process may be pinned to, sorted.
        smt: Whether two threads share a core, "on" or "off".
        quota: Processors' worth of time that the container allows; None: unlimited.
        flags: Instruction set flags, sorted; empty: unknown.
        governor: The frequency governor.
        turbo: Boost clocks, "on" or "off".
        power_mode: The power mode that the machine is in.
        load: Average number of running processes of the last minute.
        pinnable: Whether the system lets threads be pinned.
    """

    cores: int
    processors: tuple[int, ...]
    smt: str | None = None
    quota: float | None = None
    flags: tuple[str, ...] = ()
    governor: str | None = None
    turbo: str | None = None
    power_mode: str | None = None
    load: float | None = None
    pinnable: bool = True

    @classmethod
    def read(cls, root: Path = _ROOT) -> "Facts":
        """Reads them from /proc and /sys; `root` stands for the file system's root."""
        pinnable = hasattr(os, "sched_getaffinity")
        allowed = os.sched_getaffinity(0) if pinnable else range(os.cpu_count() or 1)
        return cls(
            cores=usable_cores(root),
            processors=tuple(sorted(allowed)),
            smt=smt(root),
            quota=container_quota(root),
            flags=cpu_flags(root),
            governor=governor(root),
            turbo=turbo(root),
            power_mode=power_mode(root),
            load=_load(root),
            pinnable=pinnable,
        )

    @property
    def int8_flags(self) -> tuple[str, ...]:
        """The flags of instructions that multiply and add int8 numbers in one step."""
        return tuple(sorted(INT8_DOT_PRODUCTS.intersection(self.flags)))


def _load(root: Path) -> float | None:
    try:
        return float((root / "proc/loadavg").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
