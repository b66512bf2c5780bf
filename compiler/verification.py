"""Verification: an engine must compute what the torch network computes, on real images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.backend import Engine
from compiler.design import DesignedNetwork
from compiler.export import INPUT_NAME
from compiler.images import ImageSet
from compiler.quality import Logits, logits
from compiler.views import Views

COSINE_GATE = 0.9999
"""Least cosine between an engine's and the network's logits, fp32 (design, section 7)."""


@dataclass(frozen=True, slots=True)
class Verification:
    """How close an engine is to its torch network.

    Attributes:
        images: real photographs compared.
        cosine: least cosine similarity of the logits over the images.
        max_abs_error: largest difference of a logit.
        top1_agreement: share of images with the same first answer.
        repeatable: whether a second run gave the same bits.
        gate: the cosine that was demanded.
    """

    images: int
    cosine: float
    max_abs_error: float
    top1_agreement: float
    repeatable: bool
    gate: float = COSINE_GATE

    @property
    def passed(self) -> bool:
        """Whether the engine may be published."""
        return self.cosine >= self.gate and self.repeatable


def verify(network: DesignedNetwork, engine: Engine, images: ImageSet) -> Verification:
    """Compare an engine with its torch network on real photographs.

    Args:
        network: the torch network, in eval mode.
        engine: compiled from the exported network, batch 1; takes normalized images.
        images: photographs, preprocessed as the network wants them.
    """
    views = Views(images, network.preprocessing)
    expected = logits(network, views, network.preprocessing.normalize)
    got, repeatable = _answers(network, engine, views)
    return Verification(
        images=len(images),
        cosine=float(_cosine(expected, got).min()),
        max_abs_error=float(np.abs(expected - got).max()),
        top1_agreement=float((expected.argmax(1) == got.argmax(1)).mean()),
        repeatable=repeatable,
    )


def _answers(network: DesignedNetwork, engine: Engine, views: Views) -> tuple[Logits, bool]:
    rows: list[Logits] = []
    repeatable = True
    for pixels in views:
        for image in network.preprocessing.normalize(pixels).contiguous().numpy():
            answer = _first(engine, image[None])
            if not rows:
                repeatable = bool(np.array_equal(answer, _first(engine, image[None])))
            rows.append(answer)
    return np.concatenate(rows), repeatable


def _first(engine: Engine, image: NDArray[np.float32]) -> Logits:
    (answer,) = engine.run({INPUT_NAME: image}).values()
    return np.asarray(answer, dtype=np.float32)


def _cosine(a: Logits, b: Logits) -> NDArray[np.float64]:
    dot = (a.astype(float) * b).sum(1)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(dot / np.maximum(norms, np.finfo(float).tiny))
