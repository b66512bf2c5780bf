"""Believed: the beliefs of a moment, by which networks are predicted that nobody has built."""

from dataclasses import dataclass

from compiler.drop_model import DropModel
from compiler.int8_offers import Int8Believed
from compiler.latency_model import Interval, Residual

_NOTHING = Int8Believed()


@dataclass(frozen=True, slots=True)
class Believed:
    """What a prediction was made by: the belief of the loop at that moment.

    Attributes:
        drops: expected drop of a stitch.
        residual: what a stitch costs beyond its own layer.
        excess: factors by which memory and energy were taken to exceed their prediction.
        elsewhere: the residual on other targets, by target.
        int8: what blocks in int8 cost beyond their prediction.
    """

    drops: DropModel
    residual: Interval
    excess: tuple[tuple[str, float], ...] = ()
    elsewhere: tuple[tuple[str, Interval], ...] = ()
    int8: Int8Believed = _NOTHING

    @property
    def here(self) -> Residual:
        """All that corrects latencies on the target that is searched for."""
        return Residual(self.residual.median_us, self.residual.upper_us, self.int8.latency)
