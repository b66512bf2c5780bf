"""The part of a manifest that says how DeRy mode came to its network."""

from pydantic.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EquivalenceSet:
    """One set of DeRy mode, with the block that the network has of it.

    Attributes:
        model: the block's donor.
        first: its first node.
        last: its last node.
        stage: its place in its donor and in the network, from 1.
        similarity: to the set's anchor, input's plus output's; 2 for the anchor.
        anchor: the block that is most like all of the set.
        members: blocks of the set.
    """

    model: str
    first: str
    last: str
    stage: int
    similarity: float
    anchor: str
    members: int


@dataclass(frozen=True, slots=True)
class Dery:
    """How DeRy mode came to its network.

    Attributes:
        k: equivalence sets, blocks of every donor, and blocks of the network.
        epsilon: how much more than an even share of nodes a block may have.
        seed: of all that is random.
        score: what networks were chosen by.
        value: the network's; None: minus infinity.
        proven: no network scores better within the limits as predicted, but for those tried before.
        enumerated: networks that were scored one by one; None: the solver did without.
        complete: whether these were all within the limits.
        correlation: Spearman's, of score and measured quality of the networks tried.
        objective: of the partition: the sum of similarities to the anchors.
        partition_proven: whether that is proven to be the highest possible.
        sets: the sets, each with its chosen block.
    """

    k: int
    epsilon: float | None
    seed: int
    score: str
    value: float | None
    proven: bool
    enumerated: int | None
    complete: bool | None
    correlation: float | None
    objective: float
    partition_proven: bool
    sets: tuple[EquivalenceSet, ...]
