"""`Diagnosis`: what derycc finds on this machine, and what is missing."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from backends.registry import get_backend, list_backends
from derycc import __version__
from derycc.writable import obstacle
from targets.errors import DeryccError
from targets.machine import container_quota, cpu_model, governor, memory_bytes, turbo, usable_cores
from targets.registry import Entry, entries
from targets.target import Target

REQUIRED = (
    "torch",
    "torchvision",
    "timm",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "ortools",
    "numpy",
    "scipy",
)
OPTIONAL = ("tensorrt", "pycuda")
DEFAULT_BACKEND = "ort"
UNAVAILABLE_EXIT = 6


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """One backend of the registry.

    Attributes:
        name: its name.
        problem: why it cannot be used here and what to do; None where it can.
        versions: what it runs on, as (package, version) pairs; empty where it cannot be used.
    """

    name: str
    problem: str | None
    versions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts of the machine that a latency depends on; None or "unknown" where absent."""

    system: str
    processor: str
    cores: int
    container_quota: float | None
    memory_bytes: int
    governor: str | None
    turbo: str | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything `derycc doctor` says.

    Attributes:
        derycc: derycc's own version.
        python: the interpreter's version.
        machine: the facts of this machine.
        packages: (package, version) pairs, None for what is not installed.
        backends: every backend of the registry.
        targets: every target with its settings on this machine.
        home: the folder that keeps weights, measurements and builds.
        home_problem: why that folder cannot be written, None where it can.
    """

    derycc: str
    python: str
    machine: Machine
    packages: tuple[tuple[str, str | None], ...]
    backends: tuple[BackendStatus, ...]
    targets: tuple[str, ...]
    home: str
    home_problem: str | None

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps this machine from building a network, one sentence each; empty if nothing."""
        missing = [
            f"{name} is not installed. Install derycc's dependencies: pip install derycc"
            for name, found in self.packages
            if name in REQUIRED and found is None
        ]
        default = [b.problem for b in self.backends if b.name == DEFAULT_BACKEND and b.problem]
        home = [self.home_problem] if self.home_problem else []
        return tuple(missing + default + home)

    @property
    def exit_code(self) -> int:
        """0 where a network can be built here, else 6."""
        return UNAVAILABLE_EXIT if self.problems else 0

    def lines(self) -> tuple[str, ...]:
        """The diagnosis as text for a reader."""
        versions = [_line(name, found or "not installed") for name, found in self.packages]
        return (
            _line("derycc", self.derycc),
            _line("python", self.python),
            *_machine_lines(self.machine),
            _line("home", f"{self.home}{' (not writable)' if self.home_problem else ''}"),
            "",
            *versions,
            "",
            *(_line(f"backend {b.name}", _backend_text(b)) for b in self.backends),
            *(_line("target", target) for target in self.targets),
            "",
            *([f"problem: {text}" for text in self.problems] or ["No problem found."]),
        )


def diagnose(home: Path) -> Diagnosis:
    """Looks at this machine; changes nothing and imports no framework but the backends' runtimes.

    Args:
        home: the folder that derycc would write to; it need not exist.
    """
    return Diagnosis(
        derycc=__version__,
        python=platform.python_version(),
        machine=_machine(),
        packages=tuple((name, _installed(name)) for name in (*REQUIRED, *OPTIONAL)),
        backends=tuple(_status(name) for name in list_backends()),
        targets=tuple(_target(entry) for entry in entries()),
        home=str(home),
        home_problem=_home_problem(home),
    )


def _machine() -> Machine:
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=cpu_model(),
        cores=usable_cores(),
        container_quota=container_quota(),
        memory_bytes=memory_bytes(),
        governor=governor(),
        turbo=turbo(),
    )


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _status(name: str) -> BackendStatus:
    try:
        backend = get_backend(name)
    except DeryccError as error:
        return BackendStatus(name, str(error))
    problem = backend.unavailable()
    versions = () if problem else tuple(sorted(backend.versions().items()))
    return BackendStatus(name, problem, versions)


def _target(entry: Entry) -> str:
    if entry.found is None:
        return f"{entry.name}: its file cannot be used; derycc targets list says why"
    target = Target.from_found(entry.found)
    return f"{target.name}: backend {target.backend}, threads {target.threads}"


def _home_problem(home: Path) -> str | None:
    """Why nothing can be written to `home`, judged by the nearest folder that exists."""
    why = obstacle(home / "any")
    if why is None:
        return None
    return f"The home folder {home} cannot be written: {why}. Choose another folder."


def _machine_lines(machine: Machine) -> tuple[str, ...]:
    quota = "" if machine.container_quota is None else f", quota {machine.container_quota:g}"
    cpu = f"{machine.processor}, {machine.cores} usable cores{quota}"
    clocks = f"governor {machine.governor or 'unknown'}, turbo {machine.turbo or 'unknown'}"
    return (
        _line("system", machine.system),
        _line("processor", cpu),
        _line("clocks", clocks),
        _line("memory", f"{machine.memory_bytes / 1e9:.1f} GB"),
    )


def _backend_text(backend: BackendStatus) -> str:
    versions = ", ".join(f"{name} {found}" for name, found in backend.versions)
    return backend.problem or versions or "ready"


def _line(name: str, text: str) -> str:
    return f"{name:<18}{text}"
