"""Waterfall: a predicted latency as steps, each from where the one before it ends."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import fsum

from compiler.recipe_parts import Link, Stretch
from profilers.prediction import Prediction, Term

OUTSIDE = "engine and edges"


@dataclass(frozen=True, slots=True)
class Step:
    """What one row adds to a network's latency, in microseconds.

    Attributes:
        name: what the network's description calls it.
        what: what it is.
        alone_us: sum of its parts' latencies alone; None: it has no parts.
        context_us: what their place inside a network changes.
        deviation_us: what networks that were measured whole tell of them.
        total_us: what they add: the sum of the three, but of no part less than a small share of
            its latency alone.
        start_us: sum of all steps before it.
        parts: how many parts it has.
        estimated: how many of these were not measured alone.
    """

    name: str
    what: str
    alone_us: float | None
    context_us: float
    deviation_us: float
    total_us: float
    start_us: float
    parts: int
    estimated: int

    @property
    def end_us(self) -> float:
        """Sum of all steps up to it."""
        return self.start_us + self.total_us


def waterfall(
    stretches: Sequence[Stretch],
    prediction: Prediction,
    measured: Collection[str],
    blocks: bool = False,
) -> tuple[Step, ...]:
    """The steps of a prediction: what the engine costs once, then the network from its input on.

    Args:
        stretches: the network.
        prediction: of their parts, in order.
        measured: keys of the parts that were measured alone.
        blocks: a step for every part, not one for every stretch.
    """
    terms = iter(prediction.terms)
    outside = prediction.outside_us
    steps = [Step(OUTSIDE, "once", None, outside, 0.0, outside, 0.0, 0, 0)]
    for stretch in stretches:
        own = [next(terms) for _ in stretch.links]
        for name, what, part in _rows(stretch, own, blocks):
            steps.append(_step(name, what, part, steps[-1].end_us, measured))
    return tuple(steps)


def _rows(
    stretch: Stretch, terms: Sequence[Term], blocks: bool
) -> list[tuple[str, str, Sequence[Term]]]:
    if not blocks or len(terms) == 1:
        return [(stretch.name, stretch.what, terms)]
    pairs = zip(stretch.links, terms, strict=True)
    return [(stretch.name, _short(link), (term,)) for link, term in pairs]


def _short(link: Link) -> str:
    """A block without its donor's size: "resnet18 layer1.0..layer1.1"."""
    donor, _, run = link.name.partition("/")
    return f"{donor.partition('@')[0]} {run}" if run else link.name


def _step(
    name: str, what: str, terms: Sequence[Term], start_us: float, measured: Collection[str]
) -> Step:
    return Step(
        name,
        what,
        fsum(term.alone_us for term in terms),
        fsum(term.context_us for term in terms),
        fsum(term.deviation_us for term in terms),
        fsum(term.total_us for term in terms),
        start_us,
        len(terms),
        sum(term.part.key not in measured for term in terms),
    )
