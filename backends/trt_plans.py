"""Plans of TensorRT on disk: built once for a graph, a version, a GPU and its settings.

Beside each plan lies what was found while it was built, as JSON (`derycc.plan/1`): the layers of
the network, how long it took, and everything that the plan's name is a hash of. The plan itself is
TensorRT's own bytes, which trtexec loads too.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto

from backends.identity import tensors
from backends.model import ExportedModel
from backends.trt_process import TrtProcess
from backends.trt_worker.building import write_whole
from targets.errors import WorkspaceError
from targets.target import Target

FOLDER = "DERYCC_PLANS"
"""Names the folder in which plans and the builder's timings are kept; without it none are."""

FORMAT = "derycc.plan/1"
WORKSPACE_BYTES = 4 * 2**30
"""Scratch memory that a tactic may ask for: the same for parts and wholes, so that what is chosen
for a block is what is chosen for it in a network."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the builder is told; the same for every model of a target.

    Attributes:
        workspace_bytes: Scratch memory that a tactic may ask for.
        level: How much it tries, 0 to 5.
        timing_iterations: How often it times each tactic.
        aux_streams: Further streams that branches may run on.
        tf32: Whether float32 products may be computed with 10 bits of mantissa.
        version_compatible: Whether later versions can load the plan.
        refit: Whether its weights can be replaced.
        capability: Of TensorRT-RTX: the GPU that it is built for, such as 89; None: the one here.
    """

    workspace_bytes: int = WORKSPACE_BYTES
    level: int = 3
    timing_iterations: int = 8
    aux_streams: int = 0
    tf32: bool = False
    version_compatible: bool = False
    refit: bool = False
    capability: int | None = None


def wants_half(target: Target) -> bool:
    """Whether a target's networks are to run in float16: it is named, and float32 is not."""
    return "fp16" in target.precisions and "fp32" not in target.precisions


@dataclass(frozen=True, slots=True)
class Plans:
    """A folder of plans."""

    folder: Path

    @classmethod
    def here(cls, otherwise: Path) -> "Plans":
        """The folder that is named; where none is, one that goes with its engine."""
        named = os.environ.get(FOLDER)
        return cls(Path(named) if named else otherwise)

    def built(self, model: ExportedModel, versions: Mapping[str, str], process: TrtProcess) -> Path:
        """The plan of a model, built now unless it is there as it was built.

        Raises:
            Refusal, Lost: As `TrtProcess.ask`.
            WorkspaceError: The folder cannot be written.
        """
        asked = {**asdict(Settings()), **_flags(model.onnx)}
        names = {"model": _hash(model.onnx), "settings": asked, "versions": dict(versions)}
        key = _hash(json.dumps(names, sort_keys=True).encode())[:32]
        plan = self.folder / f"{key}.plan"
        if _sound(plan):
            return plan
        graph = self.folder / f"{key}.{os.getpid()}.onnx"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            graph.write_bytes(model.onnx)
            found = process.ask(
                "build",
                onnx=str(graph),
                plan=str(plan),
                cache=str(self._timings(versions)),
                settings=asked,
            )
            about = {"format": FORMAT, "sha256": _hash(plan.read_bytes()), **names, **found}
            _note(plan, about)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        finally:
            with suppress(OSError):
                graph.unlink(missing_ok=True)
        return plan

    def prove(self, plan: Path, told: Callable[[], Mapping[str, float]]) -> None:
        """Notes beside a plan in which precisions its engine runs, unless that is known.

        Args:
            plan: That was loaded.
            told: Tells the share of layers in each precision, as the engine's inspector does.
        """
        content = _beside(plan)
        if "precisions" in content:
            return
        try:
            _note(plan, {**content, "precisions": told()})
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def _timings(self, versions: Mapping[str, str]) -> Path:
        """The builder's timings: of one version, driver and GPU."""
        key = _hash(json.dumps(dict(versions), sort_keys=True).encode())[:16]
        return self.folder / f"timings-{key}.cache"


def unwritable(path: Path, error: OSError) -> WorkspaceError:
    """What to raise where a file of an engine cannot be written."""
    return WorkspaceError(
        f"Cannot write {path}: {error.strerror or error}. Free space, or name another folder for "
        f"engines in {FOLDER}."
    )


def _sound(plan: Path) -> bool:
    """Whether a plan is there as it was built."""
    try:
        return bool(_beside(plan)["sha256"] == _hash(plan.read_bytes()))
    except (OSError, KeyError):
        return False


def _beside(plan: Path) -> dict[str, Any]:
    """What was noted beside a plan; nothing where that cannot be read."""
    try:
        content = json.loads(plan.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _note(plan: Path, content: Mapping[str, object]) -> None:
    """Writes what is told beside a plan."""
    text = json.dumps(content, indent=1)
    write_whole(str(plan.with_suffix(".json")), text.encode("utf-8"))


def _flags(onnx: bytes) -> dict[str, bool]:
    """What TensorRT 8.6 must be allowed to use: the precisions that are in the graph."""
    graph = ModelProto.FromString(onnx).graph
    kinds = {tensor.data_type for tensor in tensors(graph)}
    kinds |= {value.type.tensor_type.elem_type for value in graph.value_info}
    return {
        "fp16": TensorProto.FLOAT16 in kinds,
        "int8": any(node.op_type == "QuantizeLinear" for node in graph.node),
    }


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
