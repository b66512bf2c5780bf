"""Verification: an engine must compute what the torch network computes, on real images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends.backend import Engine
from backends.deviation import cosines
from backends.registry import get_backend
from compiler.answers import Logits, answer, engine_answers, inputs_of
from compiler.design import DesignedNetwork
from compiler.images import ImageSet
from compiler.judged import INT8_COSINE_GATE
from compiler.precisions import FLOAT, INT8
from targets.target import Target

IMAGES = 64
"""Photographs that an engine is compared on, where there are so many."""

REPEATED = 8
"""Of these, how many are computed a second time, after all of them."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What is demanded of an engine of one precision (design, section 7).

    Attributes:
        precision: fp32, fp16 or int8.
        cosine: least cosine between its and the network's logits, on every image.
        agreement: least share of images with the same first answer; None: none is demanded.
        drift: relative error of a tensor inside that this precision does not explain.
    """

    precision: str
    cosine: float
    agreement: float | None = None
    drift: float = 1e-3


FP32 = Gate(FLOAT, 0.9999)
GATES = {
    gate.precision: gate
    for gate in (FP32, Gate("fp16", 0.999, 0.99, 2e-2), Gate(INT8, INT8_COSINE_GATE, None, 0.14))
}
"""By precision. An int8 engine must besides keep its score: `Verification.max_drop`."""

COSINE_GATE = FP32.cosine
"""Least cosine between an engine's and the network's logits, fp32."""


def gate_on(target: Target) -> Gate:
    """The gate of networks that are float, on a target that may run them in another precision."""
    return GATES[get_backend(target.backend).precision(target)]


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
        precision: whose gate it is.
        agreement_gate: least share of equal first answers that was demanded; None: none was.
        worst: the image with the least cosine, counted from 0.
        drop: score lost to the torch network, as a share; None: not counted.
        max_drop: the most that may be lost; None: that was not limited.
    """

    images: int
    cosine: float
    max_abs_error: float
    top1_agreement: float
    repeatable: bool
    gate: float = COSINE_GATE
    precision: str = FP32.precision
    agreement_gate: float | None = None
    worst: int = 0
    drop: float | None = None
    max_drop: float | None = None

    @property
    def failures(self) -> tuple[str, ...]:
        """What keeps the engine from being published, in words; empty if nothing does."""
        found = []
        if not self.cosine >= self.gate:
            found.append(f"the least cosine of the logits is {self.cosine:.6f}, below {self.gate}")
        wanted = self.agreement_gate
        if wanted is not None and not self.top1_agreement >= wanted:
            found.append(
                f"the first answer is the network's on {self.top1_agreement:.1%} of the "
                f"photographs, below {wanted:.0%}"
            )
        if self.max_drop is not None and not (self.drop is not None and self.drop <= self.max_drop):
            lost = "an unknown share" if self.drop is None else f"{self.drop:.1%}"
            found.append(f"its score is {lost} below the network's, more than {self.max_drop:.1%}")
        if not self.repeatable:
            found.append("a second run gave another answer")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether the engine may be published."""
        return not self.failures


def verify(
    network: DesignedNetwork,
    engine: Engine,
    images: ImageSet | Sequence[ImageSet],
    gate: Gate = FP32,
    again: Engine | None = None,
) -> Verification:
    """Compare an engine with its torch network on real photographs.

    Args:
        network: the torch network, in eval mode.
        engine: compiled from the exported network, batch 1; takes normalized images.
        images: photographs, preprocessed as the network wants them.
        gate: what is demanded.
        again: what computes the first images a second time; None: the same engine.
    """
    sets = (images,) if isinstance(images, ImageSet) else tuple(images)
    expected = np.concatenate([answer(network, one) for one in sets])
    got = np.concatenate([_answers(network, engine, one) for one in sets])
    first = sets[0].subset(range(min(REPEATED, len(sets[0]))))
    second = _answers(network, again or engine, first)
    repeatable = np.array_equal(got[: len(first)], second, equal_nan=True)
    return compare(expected, got, repeatable, gate)


def compare(
    expected: Logits, got: Logits, repeatable: bool = True, gate: Gate = FP32
) -> Verification:
    """How close an engine's logits are to the network's, both (images, classes)."""
    cosine = cosines(expected, got)
    return Verification(
        images=len(expected),
        cosine=float(cosine.min()),
        max_abs_error=float(np.abs(expected - got).max()),
        top1_agreement=float((expected.argmax(1) == got.argmax(1)).mean()),
        repeatable=bool(repeatable),
        gate=gate.cosine,
        precision=gate.precision,
        agreement_gate=gate.agreement,
        worst=int(cosine.argmin()),
    )


def _answers(network: DesignedNetwork, engine: Engine, images: ImageSet) -> Logits:
    return engine_answers(engine, inputs_of(network.preprocessing, images))
