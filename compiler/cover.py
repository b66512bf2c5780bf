"""Cover: all donors cut into blocks, and all blocks in sets around anchors."""

from dataclasses import dataclass

import numpy as np

from compiler.block_space import BlockSpace, Int


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """All donors cut into K blocks each, and every block in one of K sets.

    Attributes:
        anchors: (K,) blocks around which the sets are, ascending; each is in its own set.
        blocks: (donors, K) blocks in the order of their donor.
        sets: (donors, K) position among the anchors of every block's own.
        value: sum of the blocks' similarities to their anchors.
    """

    anchors: Int
    blocks: Int
    sets: Int
    value: float


def cover(space: BlockSpace, anchors: Int) -> Cover | None:
    """The best partition of all donors around these anchors; None where there is none.

    Every block goes to the anchor it is most similar to (the first of equals), and an anchor to its
    own set, so that no set is empty.
    """
    anchors = np.unique(anchors)
    blocks = space.partition(space.worth(anchors)) if len(anchors) == space.k else None
    if blocks is None:
        return None
    similarity = space.similarity(blocks.ravel(), anchors)
    sets = similarity.argmax(axis=1)
    for number, anchor in enumerate(anchors):
        sets[blocks.ravel() == anchor] = number
    value = float(similarity[np.arange(len(sets)), sets].sum())
    return Cover(anchors, blocks, sets.reshape(blocks.shape), value)


def medoids(space: BlockSpace, found: Cover) -> Int:
    """Of every set the member that all its members are most similar to, (K,).

    Among equals the present anchor stays, else it is the first.
    """
    chosen = found.anchors.copy()
    for number, anchor in enumerate(found.anchors):
        members = np.sort(found.blocks[found.sets == number])
        total = space.similarity(members, members).sum(axis=0)
        if total.max() > total[members == anchor][0]:
            chosen[number] = members[total.argmax()]
    return chosen


def settle(space: BlockSpace, found: Cover) -> Cover:
    """Re-centre every set at its medoid and cut all donors anew, until that gains nothing.

    The value never falls: the old cut points with the new anchors are one of the partitions that
    the new ones are chosen from.
    """
    while True:
        centred = cover(space, medoids(space, found))
        assert centred is not None, "the old blocks are a partition around their medoids"
        if centred.value <= found.value:
            return found
        found = centred


def random_cover(space: BlockSpace, kept: Int, draw: np.random.Generator) -> Cover:
    """A start of the search: random cut points, and anchors drawn from the blocks they make.

    Args:
        space: the blocks.
        kept: anchors that it has in any case, fewer than K; some partition has them all.
        draw: where the chance comes from.
    """
    worth = draw.random(len(space))
    for anchor in kept:
        worth[space.rivals(anchor)] = -np.inf
    blocks = space.partition(worth)
    assert blocks is not None, "some partition has the anchors that are kept"
    others = np.setdiff1d(blocks, kept)
    drawn = draw.choice(others, space.k - len(kept), replace=False)
    found = cover(space, np.append(kept, drawn))
    assert found is not None, "blocks of one partition do not overlap"
    return found
