"""Detection: the targets that this machine could be, each setting with its reason.

CPU targets can be used at once. Those of GPUs and Jetson boards say what is missing first.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from targets.accelerators import Gpu, Jetson, gpus, has_tensorrt, jetson
from targets.errors import UsageError
from targets.facts import Facts
from targets.settings import check_power_mode
from targets.target_file import TargetFile

TENSORRT = "trt"
"""The backend that drives NVIDIA's devices."""

_ROOT = Path("/")
_VENDOR = re.compile(r"\b(nvidia|developer kit|engineering reference)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A target that this machine could be.

    Attributes:
        file: What its file would say.
        reasons: Pairs of a setting and why it is so.
        missing: What must be there before it can be used; empty: nothing.
    """

    file: TargetFile
    reasons: tuple[tuple[str, str], ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found on this machine.

    Attributes:
        facts: The processor and its state.
        gpus: The GPUs that answered.
        jetson: The board; None where it is no Jetson.
        tensorrt: Whether TensorRT is installed.
        notes: What could not be found out, and why.
        proposals: The targets that follow.
    """

    facts: Facts
    gpus: tuple[Gpu, ...]
    jetson: Jetson | None
    tensorrt: bool
    notes: tuple[str, ...]
    proposals: tuple[Proposal, ...]


def detect(backends: Collection[str], root: Path = _ROOT) -> Detection:
    """Looks at this machine and proposes targets; changes nothing.

    Args:
        backends: Names of the backends that derycc has here.
        root: Stands for the file system's root.
    """
    facts, board = Facts.read(root), jetson(root)
    found, note = gpus()
    tensorrt = has_tensorrt()
    mode, mode_note = _mode(facts)
    proposals = _cpu_proposals(mode)
    missing = _missing(backends, tensorrt)
    if board is not None:
        proposals = (*proposals, _jetson_proposal(board, mode, missing))
    else:
        distinct = dict.fromkeys(found)
        proposals = (*proposals, *(_gpu_proposal(gpu, missing) for gpu in distinct))
    notes = tuple(text for text in (note, mode_note) if text)
    return Detection(facts, found, board, tensorrt, notes, proposals)


def _mode(facts: Facts) -> tuple[Facts, str | None]:
    """The facts without a power mode that no target can ask for, and a note on that."""
    try:
        check_power_mode(facts.power_mode)
    except UsageError:
        return replace(facts, power_mode=None), (
            f"This machine's power mode {facts.power_mode!r} is left out of the targets: it is no "
            f"name that a target can ask for."
        )
    return facts, None


def _cpu_proposals(facts: Facts) -> tuple[Proposal, ...]:
    """One core, and all of them where there are more."""
    one = _cpu("one-core", 1, "One core, for one request at a time", facts)
    if facts.cores == 1:
        return (one,)
    return one, _cpu("all-cores", facts.cores, "All physical cores for one request", facts)


def _cpu(name: str, threads: int, description: str, facts: Facts) -> Proposal:
    precisions = ("fp32", "int8") if facts.int8_flags else ("fp32",)
    spinning = threads == 1 or facts.quota is None
    file = TargetFile(
        name=name,
        backend="ort",
        threads=threads,
        spinning=spinning,
        precisions=precisions,
        power_mode=facts.power_mode,
        description=description,
    )
    reasons = [
        ("backend", "ONNX Runtime is derycc's backend for processors."),
        ("threads", _threads_reason(threads, facts)),
        ("affinity", "left out: pinned threads wait where other programs run on their processor."),
        ("spinning", _spinning_reason(threads, facts)),
        ("precisions", _int8_reason(facts)),
    ]
    if facts.power_mode:
        reasons.append(("power_mode", _MODE_REASON))
    return Proposal(file, tuple(reasons))


_MODE_REASON = "what the machine is in now; in another mode the same network takes another time."


def _threads_reason(threads: int, facts: Facts) -> str:
    if threads == 1:
        return "one thread has the steadiest latency and leaves the other cores to other requests."
    shared = " (two threads share a core here)" if facts.smt == "on" else ""
    return (
        f"the {facts.cores} physical cores that this process may use, of {len(facts.processors)} "
        f"logical processors{shared}: more threads than cores wait for each other."
    )


def _spinning_reason(threads: int, facts: Facts) -> str:
    if threads == 1:
        return "on, as in cpu:threads=1, whose times it shares: a single thread waits for no other."
    if facts.quota is not None:
        return (
            f"off: the container allows {facts.quota:g} processors' worth of time, and threads "
            f"that spin while they wait spend it."
        )
    return "on: a thread that spins starts sooner than one that sleeps."


def _int8_reason(facts: Facts) -> str:
    if facts.int8_flags:
        return f"int8 too: the processor has {', '.join(facts.int8_flags)}, so that it pays."
    if not facts.flags:
        return "fp32 alone: the system does not tell whether the processor multiplies int8 fast."
    return "fp32 alone: without VNNI or dot product instructions int8 is no faster."


def _missing(backends: Collection[str], tensorrt: bool) -> tuple[str, ...]:
    lines = []
    if TENSORRT not in backends:
        lines.append(f"This version of derycc has no backend {TENSORRT!r} (TensorRT).")
    if not tensorrt:
        lines.append("TensorRT is not installed. Install it: pip install derycc[tensorrt]")
    return tuple(lines)


def _gpu_proposal(gpu: Gpu, missing: tuple[str, ...]) -> Proposal:
    file = TargetFile(
        name=_slug(gpu.name, "gpu"),
        backend=TENSORRT,
        threads=1,
        precisions=_gpu_precisions(gpu.compute),
        description=gpu.name,
    )
    known = "an unknown" if gpu.compute is None else f"{gpu.compute:.1f} as"
    reasons = (
        ("backend", "TensorRT is NVIDIA's own runtime for its GPUs."),
        ("threads", "one thread launches the work; the GPU computes."),
        ("precisions", f"what a GPU of {known} compute capability multiplies fast."),
    )
    return Proposal(file, reasons, missing)


def _gpu_precisions(compute: float | None) -> tuple[str, ...]:
    """fp16 and bf16 where there are tensor cores for them, int8 where there is a dot product."""
    found = ["fp32"]
    if compute is None or compute >= 7.0:
        found.append("fp16")
    if compute is not None and compute >= 6.1 and compute != 6.2:
        found.append("int8")
    if compute is not None and compute >= 8.0:
        found.append("bf16")
    return tuple(found)


def _jetson_proposal(board: Jetson, facts: Facts, missing: tuple[str, ...]) -> Proposal:
    name = _slug(board.model, "jetson")
    first = name in ("jetson-nano", "jetson-tx1", "jetson-tx2")
    file = TargetFile(
        name=name,
        backend=TENSORRT,
        threads=1,
        precisions=("fp32", "fp16") if first else ("fp32", "fp16", "int8"),
        power_mode=facts.power_mode,
        description=f"{board.model}{f', Jetson Linux {board.release}' if board.release else ''}",
    )
    int8 = "it has no int8 dot product" if first else "its GPU multiplies all of them fast"
    reasons = [
        ("backend", "TensorRT is the runtime that comes with a Jetson's system."),
        ("threads", "one thread launches the work; the GPU computes."),
        ("precisions", f"{int8}."),
    ]
    if facts.power_mode:
        reasons.append(("power_mode", _MODE_REASON))
    return Proposal(file, tuple(reasons), missing)


def _slug(text: str, otherwise: str) -> str:
    """A target's name out of a device's name: `NVIDIA H100 80GB HBM3` is `h100-80gb-hbm3`."""
    words = re.findall(r"[a-z0-9]+", _VENDOR.sub(" ", text).lower())
    return "-".join(words) or otherwise
