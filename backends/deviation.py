"""`compare`: how far the outputs of one variant of a model are from those of another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.backend import Array
from backends.model import ExportedModel
from backends.registry import get_backend
from targets.errors import UsageError
from targets.target import Target

Vector = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a variant of a model is from the model, over a number of inferences.

    All outputs of an inference, in order, are taken as one vector.

    Attributes:
        samples: Inferences that were compared.
        cosine: Least cosine similarity, -1 to 1; two zero vectors have 1, a zero vector and
            another, or one that is not finite, 0.
        relative_error: Greatest norm of the difference, as a share of the model's own norm.
    """

    samples: int
    cosine: float
    relative_error: float


def compare(
    model: ExportedModel,
    variant: ExportedModel,
    samples: Sequence[Mapping[str, Array]],
    target: Target,
) -> Deviation:
    """Runs both on the same inputs, one engine after the other.

    Args:
        model: What should be computed, such as a block in float.
        variant: What is to be judged, such as the block in int8; it has the same inputs and
            outputs.
        samples: Inputs by name for each inference; not those that a variant was calibrated with.
        target: Where both run.

    Raises:
        TargetUnavailableError: The target's runtime is not installed.
        UsageError: There are no samples, their inputs or the two models' edges do not agree, or
            the runtime cannot load one of the models.
    """
    if not samples:
        raise UsageError(f"Cannot compare {variant.name!r} with {model.name!r} without samples.")
    if (model.inputs, model.outputs) != (variant.inputs, variant.outputs):
        raise UsageError(
            f"Cannot compare {variant.name!r} ({variant.inputs} to {variant.outputs}) with "
            f"{model.name!r} ({model.inputs} to {model.outputs}). Both must have the same edges."
        )
    pairs = zip(_answers(model, samples, target), _answers(variant, samples, target), strict=True)
    found = [(_cosine(wanted, got), _relative(wanted, got)) for wanted, got in pairs]
    return Deviation(
        samples=len(found),
        cosine=min(cosine for cosine, _ in found),
        relative_error=max(error for _, error in found),
    )


def _answers(
    model: ExportedModel, samples: Sequence[Mapping[str, Array]], target: Target
) -> list[Vector]:
    with get_backend(target.backend).compile(model, target) as engine:
        return [_vector(engine.run(sample)) for sample in samples]


def _vector(outputs: Mapping[str, Array]) -> Vector:
    return np.concatenate([array.astype(np.float64).ravel() for array in outputs.values()])


def _cosine(wanted: Vector, got: Vector) -> float:
    if np.array_equal(wanted, got):
        return 1.0
    norms = float(np.linalg.norm(wanted) * np.linalg.norm(got))
    return float(wanted @ got) / norms if 0 < norms < np.inf else 0.0


def _relative(wanted: Vector, got: Vector) -> float:
    if np.array_equal(wanted, got):
        return 0.0
    norm = float(np.linalg.norm(wanted))
    error = float(np.linalg.norm(wanted - got)) / norm if norm else np.inf
    return error if np.isfinite(error) else float("inf")


def cosines(a: Array, b: Array) -> Vector:
    """The cosine of two answers to each image, both (images, numbers); 0 where one is all zeros."""
    dot = (a.astype(float) * b).sum(1)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(dot / np.maximum(norms, np.finfo(float).tiny))
