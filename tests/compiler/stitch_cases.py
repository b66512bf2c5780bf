"""What the tests of stitches and their drops share."""

from itertools import product

from compiler.compatibility import PairRule, StitchOption
from compiler.dissection import Dissection
from compiler.drop_model import DropObservation
from compiler.network import Blueprint, Segment
from compiler.stitch_features import StitchFeatures


def every_option(
    *donors: Dissection, r2: float = 0.8, similarity: float = 1.0
) -> list[StitchOption]:
    """All stitches between these donors that a wide window allows, all of the same fit."""
    rule = PairRule(window=0.45)
    return [
        StitchOption(left.input_size, left.name, source, right.name, target, r2, similarity)
        for left, right in product(donors, repeat=2)
        for source, target in product(left.cuts, right.cuts)
        if left is not right and rule.allows(source, target)
    ]


def stitch(
    unexplained: float = 0.4,
    dissimilar: float = 0.2,
    following: float = 0.5,
    strided: bool = False,
) -> StitchFeatures:
    return StitchFeatures(unexplained, dissimilar, following, strided)


def observed(drop: float, *stitches: StitchFeatures) -> DropObservation:
    """A network that was promised 0.8."""
    return DropObservation(stitches, 0.8, 0.8 - drop)


def network(number: int) -> Blueprint:
    """One of many."""
    return Blueprint(
        16, (Segment("a", "input", f"blocks.{number}"), Segment("b", f"blocks.{number}", "output"))
    )
