"""Ranks: whether two rows of numbers order the same things alike."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

LEAST_PAIRS = 3


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, -1 to 1; infinities have a rank like any number.

    None where it says nothing: with fewer than three pairs, or where one row is all the same.
    """
    ranks = [rankdata(row) for row in (first, second)]
    if len(first) < LEAST_PAIRS or any(np.ptp(row) == 0 for row in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])
