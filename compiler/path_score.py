"""Path score: a network's quality as a sum over its blocks and stitches.

Four numbers, and how they relate, for a network of the blocks b and the stitches s:

- *score* of an arc: what the solver adds up. A block's is its donor's measured quality times the
  share of depth that it covers. A stitch's is `evened(s) - drop(s)`.
- *drop(s)*: quality that the stitch is predicted to cost, never negative, by a `DropModel`.
- *promised*: the network's quality if its stitches cost nothing, sum of score(b) + evened(s). For a
  donor left whole it is the donor's own measured quality, to `DIGITS` digits.
- *expected* = promised - sum of drop(s) = sum of all scores: what the solver maximizes, and what is
  printed beside the *measured* quality (`candidates.Judged.score`) of every network that is built.
  The *measured drop* that drop models are fitted to is promised - measured.

Where a stitch skips some depth, or repeats some, `evened` makes up for it, so that all blocks and
stitches of a path cover the depth once, and nobody gains by covering it twice: what is skipped
counts with the worse donor's quality, what is repeated is taken off with the better one's.

Every score is a decimal of `DIGITS` digits, and a block's is what its donor has reached at its end
less what it had at its start. So sums along a path are exact: donors of equal quality tie, however
many blocks they are cut into, and the tie goes to the faster one.
"""

from collections.abc import Mapping, Sequence
from math import fsum

from compiler.compatibility import StitchOption
from compiler.dissection import Block

QualityOf = Mapping[tuple[str, int], float]
"""Measured quality, 0 to 1, by donor and input size."""


DIGITS = 9
"""Decimal digits of a score: what the solver adds up without rounding (`integers.LARGEST`)."""


def rounded(score: float) -> float:
    """The nearest decimal that scores are told in."""
    return round(score, DIGITS)


def block_score(block: Block, quality: QualityOf) -> float:
    """The donor's quality times the share of depth that the block covers."""
    return _share(quality[block.model, block.size], block.start.depth, block.end.depth)


def evened(option: StitchOption, quality: QualityOf) -> float:
    """What a stitch adds for depth that it skips, or takes for depth that it repeats."""
    left, right = _sides(option, quality)
    start, end = option.source.depth, option.target.depth
    return _share(min(left, right) if end > start else max(left, right), start, end)


def promised(stitches: Sequence[StitchOption], quality: QualityOf) -> float:
    """The quality of the network with these stitches, in order, if they cost nothing.

    Args:
        stitches: one or more; each begins in the donor in which the one before it ends.
        quality: of the uncut donors.
    """
    starts = [0.0, *(stitch.target.depth for stitch in stitches)]
    ends = [*(stitch.source.depth for stitch in stitches), 1.0]
    donors = [stitches[0].source_model, *(stitch.target_model for stitch in stitches)]
    shares = (
        _share(quality[donor, stitches[0].size], start, end)
        for donor, start, end in zip(donors, starts, ends, strict=True)
    )
    return fsum([*shares, *(evened(stitch, quality) for stitch in stitches)])


def _share(quality: float, start: float, end: float) -> float:
    """The part of a donor's quality between two depths; parts of all its depth add up to it."""
    return rounded(rounded(quality * end) - rounded(quality * start))


def _sides(option: StitchOption, quality: QualityOf) -> tuple[float, float]:
    return (
        quality[option.source_model, option.size],
        quality[option.target_model, option.size],
    )
