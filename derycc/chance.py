"""Chance: whether a network's answers are any better than a guess."""

from scipy.stats import beta

from compiler.judged import Judged
from compiler.quality import Quality

ONE_SIDE = 0.025
"""What an interval of 95 percent leaves out below it."""


def least_share(judged: Quality) -> float:
    """Lower end of the exact 95 percent interval of a share (Clopper and Pearson, 1934)."""
    right = round(judged.score * judged.images)
    return float(beta.ppf(ONE_SIDE, right, judged.images - right + 1)) if right else 0.0


_SEARCH_ON = "Allow more latency, relax the other limits, or add donors."
_WRITE_ANOTHER = "Write down another network, or train this one before it is used."


def chance_warning(judged: Judged, classes: int, searched: bool = True) -> str | None:
    """What must be said of a network that may as well guess; None where it is better than that.

    Args:
        judged: its quality; that on the held-out photographs counts, which took part in no choice.
        classes: that it tells apart.
        searched: whether it was searched for, not written down.
    """
    held_out = judged.held_out
    if classes < 2 or least_share(held_out) > 1 / classes:
        return None
    right = round(held_out.score * held_out.images)
    does = "agrees with the reference" if held_out.top1 is None else "is right"
    seen = f"the network {does} on {right} of {held_out.images} held-out photographs, which"
    if held_out.score > 1 / classes:
        return (
            f"{seen} cannot be told from a guess among {classes} classes with so few photographs. "
            "Judge it on more (--judge-data) before it is used."
        )
    return (
        f"{seen} is no better than a guess among {classes} classes: it is of no use as it is. "
        f"{_SEARCH_ON if searched else _WRITE_ANOTHER}"
    )
