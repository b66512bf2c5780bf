"""Two toys whose blocks may be in int8, with losses and latencies of known size."""

from dataclasses import replace

from compiler.dissection import Dissection
from compiler.int8_judge import Int8Loss
from compiler.int8_offers import Int8Offer, Int8Offers
from compiler.latency_model import Interval, LatencyModel
from compiler.search_space import SearchSpace
from profilers.parts import Cost
from tests.compiler.latency_cases import plain_model, stitches_between

Toys = tuple[Dissection, Dissection]
FLOAT_US, INT8_US = 10.0, 4.0


def loss(error: float) -> Int8Loss:
    return Int8Loss(error=error, changed=0.0, drop=0.0, integer=1.0, weight_bytes=-8)


def int8_space(
    toys: Toys,
    error: float = 0.001,
    quality: tuple[float, float] = (0.5, 0.7),
    **offered: object,
) -> SearchSpace:
    """Every block takes 10 us, in int8 4 us, and loses `error` there; a stitch takes 1 us."""
    names = [block.name for donor in toys for block in donor.blocks]
    wholes = {(donor.name, 16): Interval(*2 * (FLOAT_US * len(donor.blocks),)) for donor in toys}
    plain = plain_model(dict.fromkeys(names, Interval(1.0, 1.0)), wholes, 1.0)
    model = LatencyModel(
        plain.predictor.knowing({f"{name} int8": Cost(INT8_US, 0.0) for name in names}),
        plain._donors,
        wholes,
        0.0,
    )
    blocks = {
        block.name: Int8Offer(replace(model.part(block), key=f"{block.name} int8"), loss(error))
        for donor in toys
        for block in donor.blocks
    }
    offers = replace(Int8Offers(blocks), **offered)  # type: ignore[arg-type]
    qualities = dict(zip(wholes, quality, strict=True))
    return SearchSpace(toys, stitches_between(toys), model, qualities, int8=offers)
