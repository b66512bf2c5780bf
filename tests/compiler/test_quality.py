"""Quality: shares counted by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from compiler.answers import logits
from compiler.quality import Quality, judge


def one_hot(classes: list[int], width: int = 8) -> np.ndarray:
    return np.eye(width, dtype=np.float32)[classes]


def test_top1_counts_labels_and_agreement_counts_the_reference() -> None:
    quality = judge(one_hot([0, 1, 2, 3]), (0, 1, 2, 0), one_hot([0, 1, 5, 5]))

    assert (quality.images, quality.top1, quality.agreement) == (4, 0.75, 0.5)


def test_top5_counts_labels_among_the_first_five() -> None:
    answers = np.array([[8, 7, 6, 5, 4, 3, 2, 1], [8, 7, 6, 5, 4, 3, 2, 1]], np.float32)

    quality = judge(answers, (4, 5), answers)

    assert (quality.top1, quality.top5) == (0.0, 0.5)


@pytest.mark.parametrize("classes", [1, 3, 5])
def test_of_few_classes_all_are_among_the_first_five(classes: int) -> None:
    answers = one_hot([0] * classes, classes)

    quality = judge(answers, tuple(range(classes)), answers)

    assert quality.top5 == 1.0
    assert quality.top1 == pytest.approx(1 / classes)


def test_without_labels_agreement_is_the_score() -> None:
    quality = judge(one_hot([0, 1]), None, one_hot([0, 2]))

    assert quality == Quality(2, None, None, 0.5)
    assert quality.score == 0.5


def test_with_labels_top1_is_the_score() -> None:
    assert Quality(10, 0.2, 0.9, 0.7).score == 0.2


def test_the_standard_error_is_binomial() -> None:
    assert Quality(100, 0.8, None, 0.0).standard_error == pytest.approx(0.04)
    assert Quality(100, 1.0, None, 0.0).standard_error == 0.0


def test_answers_are_collected_over_normalized_batches() -> None:
    batches = [torch.ones(2, 3), torch.zeros(1, 3)]

    answers = logits(nn.Identity(), batches, lambda pixels: pixels * 2 - 1)

    assert answers.dtype == np.float32
    assert answers.tolist() == [[1.0] * 3, [1.0] * 3, [-1.0] * 3]
