"""Judged: one quantity for donors and stitched networks, where 0 right answers are worth 0."""

import pytest

from compiler.judged import Judged
from compiler.quality import Quality


@pytest.mark.parametrize(
    ("right", "level", "score"),
    [(0, 1.5, 0.0), (0, 0.5, 0.0), (7, 1.2, 0.6), (7, 0.8, 0.4), (14, 1.2, 1.0), (14, 0.9, 0.9)],
)
def test_the_share_is_scaled_to_the_level_of_whole_donors(
    right: int, level: float, score: float
) -> None:
    share = right / 14
    judged = Judged(Quality(14, share, None, share), Quality(14, share, None, share), level)

    assert judged.score == pytest.approx(score)
