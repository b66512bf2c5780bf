"""Path score: a network's quality as a sum over its blocks and stitches.

Four numbers, and how they relate, for a network of the blocks b and the stitches s:

- *score* of an arc: what the solver adds up. A block's is its donor's measured quality times the
  share of depth that it covers. A stitch's is `evened(s) - drop(s)`.
- *drop(s)*: quality that the stitch is predicted to cost, never negative, by a `DropModel`.
- *promised*: the network's quality if its stitches cost nothing, sum of score(b) + evened(s). For a
  donor left whole it is exactly the donor's own measured quality.
- *expected* = promised - sum of drop(s) = sum of all scores: what the solver maximizes, and what is
  printed beside the *measured* quality (`candidates.Judged.score`) of every network that is built.
  The *measured drop* that drop models are fitted to is promised - measured.

Where a stitch skips some depth, or repeats some, `evened` makes up for it, so that all blocks and
stitches of a path cover the depth once, and nobody gains by covering it twice: what is skipped
counts with the worse donor's quality, what is repeated is taken off with the better one's.
"""

from collections.abc import Mapping, Sequence
from math import fsum

from compiler.compatibility import StitchOption
from compiler.dissection import Block

QualityOf = Mapping[tuple[str, int], float]
"""Measured quality, 0 to 1, by donor and input size."""


def block_score(block: Block, quality: QualityOf) -> float:
    """The donor's quality times the share of depth that the block covers."""
    return quality[block.model, block.size] * (block.end.depth - block.start.depth)


def evened(option: StitchOption, quality: QualityOf) -> float:
    """What a stitch adds for depth that it skips, or takes for depth that it repeats."""
    left, right = _sides(option, quality)
    skipped = option.target.depth - option.source.depth
    return skipped * (min(left, right) if skipped > 0 else max(left, right))


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
        quality[donor, stitches[0].size] * (end - start)
        for donor, start, end in zip(donors, starts, ends, strict=True)
    )
    return fsum([*shares, *(evened(stitch, quality) for stitch in stitches)])


def _sides(option: StitchOption, quality: QualityOf) -> tuple[float, float]:
    return (
        quality[option.source_model, option.size],
        quality[option.target_model, option.size],
    )
