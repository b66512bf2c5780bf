"""`Environment`: what must be equal for two measurements to be comparable."""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass

from backends.backend import Backend
from targets.machine import (
    container_quota,
    cpu_flags,
    cpu_model,
    governor,
    memory_bytes,
    power_mode,
    temperature_c,
    turbo,
    usable_cores,
)
from targets.target import Target

_INFORMATIVE = frozenset({"flags", "kernel", "precisions", "python", "target", "temperature_c"})
_ADDED = frozenset({"power_mode"})
"""Fields that are younger than some stores: unknown, they leave a fingerprint as it was."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine, its settings, the runtime and the target of a measurement.

    Kernel, python, temperature, and the target's name and precisions are recorded but need not
    match: what a target's name stands for is in backend, threads, spinning and affinity, and a
    model's own graph says its precision. Memory is in GiB, rounded, because what a kernel reports
    differs a little from boot to boot. `temperature_c` is the hottest zone's, in degrees Celsius.
    `flags` are what `cpu_flags` is the hash of, so that a difference can be named.
    """

    cpu_model: str
    cpu_flags: str
    cores: int
    quota: float | None
    memory_gib: int
    governor: str | None
    turbo: str | None
    system: str
    architecture: str
    backend: str
    versions: tuple[tuple[str, str], ...]
    target: str
    threads: int
    spinning: bool
    affinity: tuple[int, ...]
    precisions: tuple[str, ...]
    kernel: str = ""
    python: str = ""
    power_mode: str | None = None
    temperature_c: float | None = None
    flags: tuple[str, ...] = ()

    @classmethod
    def capture(cls, target: Target, backend: Backend) -> "Environment":
        """Reads the environment of this process on this machine."""
        flags = cpu_flags()
        return cls(
            cpu_model=cpu_model(),
            cpu_flags=hashlib.sha256(" ".join(flags).encode()).hexdigest()[:16],
            cores=usable_cores(),
            quota=container_quota(),
            memory_gib=round(memory_bytes() / 2**30),
            governor=governor(),
            turbo=turbo(),
            system=platform.system(),
            architecture=platform.machine(),
            backend=backend.name,
            versions=tuple(sorted({**backend.versions(), **_precision(target, backend)}.items())),
            target=str(target),
            threads=target.threads,
            spinning=target.spinning,
            affinity=target.affinity,
            precisions=target.precisions,
            kernel=platform.release(),
            python=platform.python_version(),
            power_mode=power_mode(),
            temperature_c=temperature_c(),
            flags=flags,
        )

    @property
    def fingerprint(self) -> str:
        """Short hash of the fields that must match."""
        known = {
            name: value
            for name, value in self._binding().items()
            if name not in _ADDED or value is not None
        }
        text = json.dumps(known, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(
        self, other: "Environment", words: tuple[str, str] = ("here", "there")
    ) -> tuple[str, ...]:
        """A line for every field that must match and does not, e.g. `threads: 2 here, 4 there`.

        Args:
            other: What to compare with.
            words: What this environment and the other are called.
        """
        mine, theirs = self._shown(other), other._shown(self)
        changed = [name for name in mine if mine[name] != theirs[name]]
        return tuple(
            f"{name.replace('_', ' ')}: {_show(mine[name])} {words[0]}, "
            f"{_show(theirs[name])} {words[1]}"
            for name in changed
        )

    def _shown(self, other: "Environment") -> dict[str, object]:
        """What must match, with the flags that only this one has where both are known."""
        shown = self._binding()
        other_flags = self.cpu_flags != other.cpu_flags and set(self.flags) != set(other.flags)
        if other_flags and self.flags and other.flags:
            alone = [name for name in self.flags if name not in other.flags]
            shown["cpu_flags"] = f"also {' '.join(alone)}" if alone else "no others"
        return shown

    def _binding(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self).items() if name not in _INFORMATIVE}


def _precision(target: Target, backend: Backend) -> dict[str, str]:
    """What graphs are converted to: nothing else tells it. In fp32 they are what they say."""
    precision = backend.precision(target)
    return {} if precision == "fp32" else {"precision": precision}


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(_show(item) for item in value) or "none"
    return "unknown" if value is None else str(value)
