"""Stitches of known fit, and a latency model of known costs: for tests of what is built on them."""

from collections.abc import Mapping, Sequence

from compiler.compatibility import PairRule, StitchOption
from compiler.dissection import Dissection
from compiler.latency_model import Interval, LatencyModel
from compiler.parts import DonorParts
from profilers.context import Context
from profilers.deviations import Deviations
from profilers.part_costs import PartCosts, PartEstimate
from profilers.parts import Cost, Part
from profilers.prediction import LatencyPredictor


def plain_model(
    blocks: Mapping[str, Interval],
    wholes: Mapping[tuple[str, int], Interval],
    stitch_us: float,
    error: float = 0.0,
) -> LatencyModel:
    """Blocks cost what they are given, scaled to their donor's whole; every stitch the same."""
    donors, measured = {}, {}
    for (name, size), whole in wholes.items():
        own = {block: c for block, c in blocks.items() if block.startswith(f"{name}@{size}/")}
        scale = whole.median_us / sum(cost.median_us for cost in own.values())
        chain = tuple(Part(block, "block", 1, 0, 1, 0, 0) for block in own)
        donors[name, size] = DonorParts(tuple(own), chain, f"{name}@{size}")
        measured |= {block: Cost(scale * cost.median_us, 0.0) for block, cost in own.items()}
    stitch = PartEstimate((stitch_us, 0.0, 0.0, 0.0, 0.0), 0.0, 5)
    alone = PartCosts(measured, {"stitch": stitch})
    predictor = LatencyPredictor(alone, Context(), Deviations(alone, (), ()))
    return LatencyModel(predictor, donors, wholes, error)


def stitches_between(donors: Sequence[Dissection]) -> list[StitchOption]:
    """Every stitch between two donors at 16 px that the usual rule allows, each with R2 0.9."""
    rule = PairRule()
    return [
        StitchOption(16, left.name, source, right.name, target, 0.9)
        for left in donors
        for right in donors
        for source in left.cuts
        for target in right.cuts
        if left is not right and rule.allows(source, target)
    ]
