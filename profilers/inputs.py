"""What models are measured with: made here, written into files for the process that measures."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from backends.backend import Array
from backends.model import ExportedModel
from targets.errors import WorkspaceError

Inputs = Callable[[ExportedModel], Mapping[str, Array]]
"""Makes the arrays that a model is measured with."""


def normal_inputs(seed: int) -> Inputs:
    """Standard normal numbers for floats, 0 or 1 for whole numbers; the same for the same model."""

    def make(model: ExportedModel) -> dict[str, Array]:
        random = np.random.default_rng((seed, int(model.structure[:16], 16)))
        return {
            spec.name: random.standard_normal(spec.shape).astype(spec.dtype)
            if np.issubdtype(np.dtype(spec.dtype), np.floating)
            else random.integers(0, 2, spec.shape).astype(spec.dtype)
            for spec in model.inputs
        }

    return make


def write_inputs(models: Mapping[str, ExportedModel], inputs: Inputs, folder: Path) -> None:
    """Writes every model and its inputs, as `KEY.onnx` and `KEY.npz`.

    Raises:
        WorkspaceError: The folder cannot hold them.
    """
    for key, model in models.items():
        made = inputs(model)
        model.save(folder / f"{key}.onnx")
        arrays = [made[spec.name] for spec in model.inputs]
        try:
            np.savez(folder / f"{key}.npz", *arrays)
        except OSError as error:
            raise WorkspaceError(
                f"Cannot write a model's inputs to the temporary folder {str(folder)!r}: "
                f"{error.strerror}. Free space there, or set TMPDIR to another folder."
            ) from error
