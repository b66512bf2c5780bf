"""Judged: the quality of a network that was built, and how far its int8 parts change it."""

from dataclasses import dataclass

from compiler.quality import Quality

INT8_COSINE_GATE = 0.99
"""Least cosine between the logits of a network with int8 parts and of the same in float."""

MAX_DROP = 0.01
"""Most score that int8 may cost a network, where nobody asks for less or more."""


@dataclass(frozen=True, slots=True)
class Int8Judged:
    """A network with int8 parts beside its own float form, on the choosing photographs.

    Attributes:
        cosine: least cosine of their logits.
        drop: score that int8 costs, as a share; negative where it gains some.
        max_drop: the most that it may cost.
    """

    cosine: float
    drop: float
    max_drop: float = MAX_DROP

    @property
    def faults(self) -> list[str]:
        """Why the network may not be used, in words; empty: it may."""
        found = []
        if not self.cosine >= INT8_COSINE_GATE:
            found.append(
                f"in int8 the least cosine of its logits is {self.cosine:.4f}, demanded: "
                f"{INT8_COSINE_GATE}"
            )
        if self.drop > self.max_drop:
            found.append(
                f"int8 costs it {100 * self.drop:.1f} points, asked for: at most "
                f"{100 * self.max_drop:.4g}"
            )
        return found


@dataclass(frozen=True, slots=True)
class Judged:
    """A network's quality on the images that choose and on those that report.

    Attributes:
        calibration: on the calibration images that nothing was fitted to: all of them for a whole
            donor, the choosing part for a stitched network.
        held_out: on images that took no part in any choice.
        level: what the network's donors score on all calibration images, as a multiple of what
            they score on the choosing part; 1 for a whole donor, and for a recipe: it competes
            with none.
        int8: how far a network with int8 parts is from its own float form; None: it has none.
    """

    calibration: Quality
    held_out: Quality
    level: float = 1.0
    int8: Int8Judged | None = None

    @property
    def score(self) -> float:
        """What choices are made by: the score expected on all calibration images.

        With few photographs the choosing part may be harder or easier than the whole; its donors
        tell how many times as hard. A network that is never right stays at 0.
        """
        return min(1.0, self.calibration.score * self.level)
