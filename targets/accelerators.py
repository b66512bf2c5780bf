"""NVIDIA GPUs and Jetson boards of this machine, and whether TensorRT is installed."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from targets.machine import read_text

_ROOT = Path("/")
_SECONDS = 20
_QUERY = ("--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its driver describes it; `compute` is its compute capability, None where untold."""

    name: str
    memory_mib: int | None
    compute: float | None


@dataclass(frozen=True, slots=True)
class Jetson:
    """A Jetson board: its model's name, and the release of its system such as "R36.4.0"."""

    model: str
    release: str | None


def gpus() -> tuple[tuple[Gpu, ...], str | None]:
    """The GPUs that `nvidia-smi` lists, and why there may be more: None where it has answered.

    Without an `nvidia-smi` on the PATH there are none.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return (), None
    try:
        done = subprocess.run(
            [tool, *_QUERY], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return (), f"nvidia-smi cannot be asked for GPUs: {error}. Check the NVIDIA driver."
    if done.returncode:
        said = " ".join(f"{done.stdout} {done.stderr}".split()).rstrip(".")
        return (), f"nvidia-smi lists no GPU: {said}. Check the NVIDIA driver."
    rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]
    return tuple(_gpu(*row) for row in rows if len(row) == len(_QUERY[0].split(","))), None


def jetson(root: Path = _ROOT) -> Jetson | None:
    """The Jetson board that this machine is; None where it is none."""
    model = read_text(root / "proc/device-tree/model").strip("\0\n ")
    release = read_text(root / "etc/nv_tegra_release")
    if "jetson" not in model.lower() and not release:
        return None
    found = re.search(r"#?\s*(R[0-9]+)\s*\(release\),\s*REVISION:\s*([0-9.]+)", release)
    return Jetson(model or "Jetson", f"{found[1]}.{found[2]}" if found else None)


def has_tensorrt() -> bool:
    """Whether the package is installed; it is not imported, which would take seconds."""
    return find_spec("tensorrt") is not None


def _gpu(name: str, memory: str, compute: str) -> Gpu:
    return Gpu(name, int(memory) if memory.isdecimal() else None, _number(compute))


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]+\.[0-9]+", text) else None
