"""What every result file says of where it was made."""

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version

from backends.registry import get_backend
from profilers.environment import Environment
from targets.target import Target

_PACKAGES = ("numpy", "onnx", "onnxruntime", "ortools", "scipy", "timm", "torch")


def machine(target: Target) -> dict[str, object]:
    """The date, the system, the environment of a target and the versions."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.system(),
        "environment": asdict(Environment.capture(target, get_backend(target.backend))),
        "versions": {name: version(name) for name in _PACKAGES},
    }
