"""Runtime: the TensorRT that this interpreter has, and the lines that it logs."""

import importlib
from collections import deque
from typing import Any, Deque, Dict, List, Optional

from backends.trt_worker.faults import Fault

MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
"""Tried in this order. TensorRT-RTX has the calls of TensorRT 11."""

OLDEST = (8, 6)
_KEPT = 400
_SEVERITIES = {0: "F", 1: "E", 2: "W"}
"""What is kept of the log: internal errors, errors, warnings."""


class Runtime:
    """TensorRT as it was imported.

    Attributes:
        trt: The module.
        logger: Keeps the last lines of the log; given to whatever asks for a logger.
        lines: The last lines, each behind its severity's letter.
    """

    def __init__(self, trt: Any) -> None:
        """Makes the logger; a module's own class has to be its base."""
        self.trt = trt
        self.lines: Deque[str] = deque(maxlen=_KEPT)
        lines = self.lines

        class Lines(trt.ILogger):  # type: ignore[misc]
            """Keeps warnings and errors."""

            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                letter = _SEVERITIES.get(int(severity))
                if letter:
                    lines.append(f"[{letter}] {message}")

        self.logger = Lines()

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX: it builds for GPUs that are not there, and for no others."""
        return hasattr(self.trt, "ComputeCapability")

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.trt.__version__)

    @property
    def strongly_typed(self) -> bool:
        """Whether precision is what the graph says, and no flag of the builder."""
        return "STRONGLY_TYPED" in self.trt.NetworkDefinitionCreationFlag.__members__

    def errors(self) -> List[str]:
        """The errors among the last lines; all lines where none is an error."""
        found = [line for line in self.lines if not line.startswith("[W]")]
        return found or list(self.lines)


def find_runtime(wanted: Optional[str] = None) -> Runtime:
    """Imports TensorRT.

    Args:
        wanted: The module; None: the first one that there is.

    Raises:
        Fault: There is none, or it is too old.
    """
    said: Dict[str, str] = {}
    for name in (wanted,) if wanted else MODULES:
        try:
            trt = importlib.import_module(name)
        except Exception as error:  # noqa: BLE001  whatever its initialization raises
            said[name] = str(error) or type(error).__name__
            continue
        _check_version(str(trt.__version__))
        return Runtime(trt)
    raise Fault("runtime", "; ".join(said.values()))


def _check_version(version: str) -> None:
    parts = version.split(".")
    # TensorRT-RTX counts anew from 1.
    known = tuple(int(part) if part.isdigit() else 0 for part in parts[:2])
    if known[0] >= 2 and known < OLDEST:
        raise Fault("runtime", f"TensorRT {version} is older than 8.6, the oldest that is driven")


def word(value: Any) -> str:
    """A member of one of TensorRT's enumerations by its name alone."""
    return str(getattr(value, "name", value)).rpartition(".")[2]
