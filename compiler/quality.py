"""Quality: top-1 on labels where there are any, else agreement with a reference donor."""

from dataclasses import dataclass

import numpy as np

from compiler.answers import Logits


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a network is on one set of images; shares, 0 to 1.

    Attributes:
        images: how many were judged.
        top1: share whose label is the first answer; None without labels.
        top5: share whose label is among the first five; None without labels.
        agreement: share on which the first answer is the reference donor's.
    """

    images: int
    top1: float | None
    top5: float | None
    agreement: float

    @property
    def score(self) -> float:
        """What the solver maximizes: top-1 where labelled, else agreement."""
        return self.agreement if self.top1 is None else self.top1

    @property
    def standard_error(self) -> float:
        """Binomial standard error of `score`."""
        return float((self.score * (1 - self.score) / self.images) ** 0.5)


def judge(answers: Logits, labels: tuple[int, ...] | None, reference: Logits) -> Quality:
    """Compare answers (images, classes) with labels and with the reference's answers."""
    first = answers.argmax(1)
    agreement = float((first == reference.argmax(1)).mean())
    if labels is None:
        return Quality(len(answers), None, None, agreement)
    truth = np.asarray(labels)
    most = min(5, answers.shape[1])
    five = np.argpartition(-answers, most - 1, axis=1)[:, :most]
    top5 = float((five == truth[:, None]).any(1).mean())
    return Quality(len(answers), float((first == truth).mean()), top5, agreement)
