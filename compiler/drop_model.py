"""Drop model: how much quality a stitch costs, predicted from how well it fits.

The drop of a stitch grows with the share of variance that it leaves unexplained:
drop = slope x (1 - R2). The slope starts from an assumption and is refitted whenever a stitched
network has really been judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PRIOR_SLOPE = 0.25
PRIOR_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class DropObservation:
    """One judged network.

    Attributes:
        unexplained: sum of 1 - R2 over its stitches.
        drop: quality its donors promise (weighted by depth) minus quality measured.
    """

    unexplained: float
    drop: float


@dataclass(frozen=True, slots=True)
class DropModel:
    """Quality lost by a stitch of a given fit, never negative."""

    slope: float = PRIOR_SLOPE
    observations: int = 0

    def drop(self, r2: float) -> float:
        """Share of quality (0 to 1) that a stitch with this R2 is expected to cost."""
        return self.slope * max(0.0, 1.0 - r2)

    @staticmethod
    def fit(observations: Sequence[DropObservation]) -> "DropModel":
        """Least squares through the origin, with the prior as an observation of its own weight."""
        numerator = PRIOR_WEIGHT * PRIOR_SLOPE
        denominator = PRIOR_WEIGHT
        for seen in observations:
            numerator += seen.unexplained * seen.drop
            denominator += seen.unexplained**2
        return DropModel(max(0.0, numerator / denominator), len(observations))
