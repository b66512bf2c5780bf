"""Int8 offers: the blocks that a search may put in 8-bit integers, with what that costs.

A block in int8 is one more arc beside the block in float. What it does to the answers is a resource
of its own, `int8_error`: the greatest 1 - cosine of its donor's logits that the block alone causes.
Small independent errors add up in 1 - cosine, so the sum over a path predicts that of the network,
and the gate on the cosine bounds it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum

from compiler.int8_judge import Int8Loss
from compiler.judged import INT8_COSINE_GATE
from compiler.path_score import rounded
from compiler.precisions import FLOAT, INT8
from profilers.parts import Part

INT8_ERROR = "int8_error"
"""The resource: 1 - cosine of the network's logits to those in float, a number without unit."""

LIMIT = 1.0 - INT8_COSINE_GATE
"""The most of it with which a network is predicted to pass the gate."""

MARK = " int8"
"""What an arc's name has behind that of the same block in float."""

LEAST_DROP = 0.1
"""Least score that a unit of error is taken to cost: int8 is chosen for what it saves."""


@dataclass(frozen=True, slots=True)
class Int8Offer:
    """One block in int8.

    Attributes:
        part: what its latency is found under.
        loss: what it does to its donor.
    """

    part: Part
    loss: Int8Loss


@dataclass(frozen=True, slots=True)
class Int8Offers:
    """What may be in int8.

    Attributes:
        blocks: by `Block.name`.
        instead: whether these blocks are offered in int8 alone.
        drop_per_error: score that a unit of `int8_error` is taken to cost.
        latency: factor on the predicted latency of int8 blocks, told by donors in int8.
        considered: blocks that there are.
        slower: blocks that were measured to be no faster in int8, and are not offered.
    """

    blocks: Mapping[str, Int8Offer] = field(default_factory=dict)
    instead: bool = False
    drop_per_error: float = LEAST_DROP
    latency: float = 1.0
    considered: int = 0
    slower: int = 0

    def drop(self, name: str) -> float:
        """Score that a block in int8 is taken to cost, by `Block.name`."""
        return rounded(self.drop_per_error * self.blocks[name].loss.error)


@dataclass(frozen=True, slots=True)
class Int8Believed:
    """What the loop has learned of int8.

    Attributes:
        latency: factor on the predicted latency of int8 blocks.
        errors: factors on the predicted errors of a donor's blocks, never below 1, by donor;
            missing: 1.
        barred: whether no block may be in int8 any more.
    """

    latency: float = 1.0
    errors: tuple[tuple[str, float], ...] = ()
    barred: bool = False

    @property
    def limit(self) -> float:
        """The most `int8_error` that a network may have; all blocks have some."""
        return 0.0 if self.barred else LIMIT

    def error(self, donor: str) -> float:
        """The factor on the errors of a donor's blocks."""
        return dict(self.errors).get(donor, 1.0)


@dataclass(frozen=True, slots=True)
class Int8Seen:
    """One mixed network as it was predicted and measured.

    Attributes:
        donors: that lend it blocks in int8.
        predicted_us: of its int8 blocks, upper end.
        measured_us: what the network took beyond the prediction of everything else, upper end.
        predicted_error: the sum of the errors of its blocks.
        measured_error: 1 - its least cosine.
        passed: whether it may be used.
    """

    donors: tuple[str, ...]
    predicted_us: float
    measured_us: float
    predicted_error: float
    measured_error: float
    passed: bool

    @property
    def factor(self) -> float:
        """By how much its donors' errors are taken for greater than predicted."""
        if self.predicted_error <= 0:
            return 1.0
        beyond = max(1.0, self.measured_error / self.predicted_error)
        return beyond if self.passed else max(beyond, LIMIT / (_LEFT * self.predicted_error))


_LEFT = 0.5
"""Of the predicted error of a network that failed its gate, what its donors may have next."""
_LATENCY_RANGE = (0.5, 3.0)


def believed_of(seen: Sequence[Int8Seen], barred: bool = False) -> Int8Believed:
    """What a row of networks teaches.

    The factor on latency is the mean of all, with a network that was exactly as predicted as one
    more; that on a donor's errors is the greatest of its networks.
    """
    low, high = _LATENCY_RANGE
    ratios = [one.measured_us / one.predicted_us for one in seen if one.predicted_us > 0]
    latency = fsum([1.0, *(min(max(r, low), high) for r in ratios)]) / (1 + len(ratios))
    errors: dict[str, float] = {}
    for one in seen:
        for donor in one.donors:
            errors[donor] = max(one.factor, errors.get(donor, 1.0))
    return Int8Believed(latency, tuple(sorted(errors.items())), barred)


def precision_of(arc: str) -> str:
    """The precision of a block's arc, by its name."""
    return INT8 if in_float(arc) != arc else FLOAT


def in_float(arc: str) -> str:
    """The arc of the same block in float; any other arc is itself."""
    bare = arc.removesuffix("^")
    return bare.removesuffix(MARK) + arc[len(bare) :]


def in_int8(arc: str) -> str:
    """The arc of the same block in int8."""
    bare = arc.removesuffix("^")
    return bare + MARK + arc[len(bare) :]
