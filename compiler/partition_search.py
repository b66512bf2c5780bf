"""Partition search: good sets for zoos of any size, from many seeded starts.

Each start alternates between medoids and exact cut points until nothing is gained. The best few are
improved further by swaps: one anchor is replaced by the block of the whole zoo that gains most,
with all donors cut anew.
"""

import numpy as np

from compiler.block_space import BlockSpace, Int
from compiler.cover import Cover, cover, random_cover, settle
from compiler.progress import Progress

PROMISING = 3
"""In a large zoo so many different covers are improved by swaps; in a small one, all."""

KICKS = 50
"""In a small zoo some anchors of the best cover are drawn anew so often."""

SMALL = 2**15
"""A zoo with fewer pairs of blocks is small."""

MOST_PAIRS = 2**21
"""With fewer pairs of blocks every swap is evaluated exactly; with more, the most promising."""

NO_ANCHORS = np.empty(0, dtype=np.int64)


def search(space: BlockSpace, seed: int, starts: int, progress: Progress) -> Cover:
    """The best cover met.

    Args:
        space: the blocks.
        seed: of the starts; the same seed gives the same cover.
        starts: how many.
        progress: told about every start.
    """
    progress.start("cutting and grouping from random starts", starts)
    settled: dict[bytes, Cover] = {}
    for number in range(starts):
        draw = np.random.default_rng([seed, number])
        found = settle(space, random_cover(space, NO_ANCHORS, draw))
        settled.setdefault(found.anchors.tobytes(), found)
        progress.update(number + 1)
    small = len(space) ** 2 <= SMALL
    best = sorted(settled.values(), key=_value, reverse=True)[: None if small else PROMISING]
    improved = max((swap_anchors(space, found) for found in best), key=_value)
    if small:
        improved = _kicked(space, improved, np.random.default_rng([seed, starts]))
    progress.finish()
    return improved


def _value(found: Cover) -> float:
    return found.value


def _kicked(space: BlockSpace, best: Cover, draw: np.random.Generator) -> Cover:
    """Draw some of the best cover's anchors anew and improve; again and again from the best."""
    for _ in range(KICKS):
        kept = draw.choice(best.anchors, int(draw.integers(space.k)), replace=False)
        kicked = settle(space, random_cover(space, kept, draw))
        best = max(best, swap_anchors(space, kicked), key=_value)
    return best


def swap_anchors(space: BlockSpace, found: Cover) -> Cover:
    """Replace one anchor at a time, by the block that gains most, until no swap gains anything."""
    since = number = 0
    while since < space.k:
        fixed = np.delete(found.anchors, number)
        candidates = _candidates(space, found, fixed)
        values = space.values(fixed, candidates)
        if values.max() > found.value:
            swapped = cover(space, np.append(fixed, candidates[values.argmax()]))
            assert swapped is not None, "its value is finite"
            found, since = settle(space, swapped), 0
        else:
            since += 1
        number = (number + 1) % space.k
    return found


def _candidates(space: BlockSpace, found: Cover, fixed: Int) -> Int:
    """The blocks that may become an anchor.

    All of them in a small zoo; else those that would gain most if no donor were cut anew.
    """
    everything = np.arange(len(space))
    most = max(1, MOST_PAIRS // len(space))
    if len(space) <= most:
        return everything
    members = found.blocks.ravel()
    base = np.full(len(members), -np.inf)
    if len(fixed):
        base = space.similarity(members, fixed).max(axis=1)
    parts = [
        np.maximum(space.similarity(members, part), base[:, None]).sum(axis=0)
        for part in space.chunks(everything)
    ]
    promising = np.argsort(-np.concatenate(parts), kind="stable")[:most]
    return np.sort(promising)
