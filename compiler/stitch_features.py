"""Stitch features: what is known of a stitch before any network has it.

Each is worse the larger it is.
"""

from dataclasses import dataclass

from compiler.compatibility import StitchOption
from targets.errors import DataError

WORST = 2.0
"""Where the unexplained share of variance is cut off: a fit this bad tells no more than a worse."""


@dataclass(frozen=True, slots=True)
class StitchFeatures:
    """One stitch.

    Attributes:
        unexplained: 1 - R2 of its least squares on photographs that it was not fitted to, 0 to 2.
        dissimilar: 1 - linear CKA of the two boundaries that it joins, 0 to 1.
        following: share of the target donor that still follows, 0 to 1.
        strided: whether it halves the resolution.
    """

    unexplained: float
    dissimilar: float
    following: float
    strided: bool

    def __post_init__(self) -> None:
        """Refuse numbers that are no features."""
        shares = self.dissimilar, self.following
        if not 0.0 <= self.unexplained <= WORST or not all(0.0 <= share <= 1.0 for share in shares):
            raise DataError(
                f"{self} is no stitch: its unexplained share must be 0 to {WORST:.0f}, the other "
                "numbers 0 to 1. Judge again (derycc judge)."
            )

    @staticmethod
    def of(option: StitchOption) -> "StitchFeatures":
        """The features of a stitch that an assembly may use."""
        return StitchFeatures(
            unexplained=min(max(0.0, 1.0 - option.r2), WORST),
            dissimilar=min(max(0.0, 1.0 - option.similarity), 1.0),
            following=1.0 - option.target.depth,
            strided=option.shape.stride > 1,
        )
