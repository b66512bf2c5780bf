"""`LatencyPredictor`: what a network of measured parts will take, and how far to trust it.

    latency = engine and its edges + sum over parts of (alone + context + deviation)

A part's latency alone is measured. What it costs more or less inside a network follows from its
weights, operators and edges by four numbers of the target (`Context`). What is then still
missing in networks that were measured whole is shared out among their parts (`Deviations`), so
that a donor's prediction is close to its own measurement. All terms belong to a single part: the
sum is additive along a path, as the assembly program needs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum, sqrt

from scipy.special import stdtrit

from profilers.context import Context
from profilers.deviations import Deviations
from profilers.measurement import CONFIDENCE
from profilers.part_costs import PartCosts
from profilers.parts import Chain, Cost, Observation, Part

_LEAST_SHARE = 0.05  # of its latency alone that a part costs at least
_OWN_ERROR = 0.015  # relative: what no model of parts can tell of a network
_LEAST_FREEDOM = 3


@dataclass(frozen=True, slots=True)
class Term:
    """What one part adds to a prediction, in microseconds.

    Attributes:
        part: the part.
        alone_us: its latency alone.
        context_us: what its place inside a network changes.
        deviation_us: what whole networks tell of it.
    """

    part: Part
    alone_us: float
    context_us: float
    deviation_us: float

    @property
    def total_us(self) -> float:
        """What it costs inside a network, never less than a share of its latency alone."""
        return max(self._sum_us, _LEAST_SHARE * self.alone_us)

    @property
    def held(self) -> bool:
        """Whether its terms sum up to less than that share."""
        return self._sum_us < _LEAST_SHARE * self.alone_us

    @property
    def _sum_us(self) -> float:
        return self.alone_us + self.context_us + self.deviation_us


@dataclass(frozen=True, slots=True)
class Prediction:
    """The latency of a network that nobody has measured.

    Attributes:
        outside_us: what the engine and its edges cost, in microseconds.
        terms: what each part adds, in order.
        half_width_us: half of the 95 percent interval.
    """

    outside_us: float
    terms: tuple[Term, ...]
    half_width_us: float

    @property
    def median_us(self) -> float:
        """The latency to expect."""
        return self.outside_us + fsum(term.total_us for term in self.terms)

    @property
    def interval_us(self) -> tuple[float, float]:
        """95 percent interval (low, high) of what will be measured."""
        median = self.median_us
        return max(0.0, median - self.half_width_us), median + self.half_width_us


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A network that was measured whole, beside what the predictor says without knowing it.

    Attributes:
        name: of the network.
        predicted_us: by a predictor fitted to all others.
        measured_us: its measured latency.
        error_us: the standard error that the predictor stated, its own measurement's included.
    """

    name: str
    predicted_us: float
    measured_us: float
    error_us: float

    @property
    def relative_error(self) -> float:
        """By how much the prediction exceeds the measurement, as a share of it."""
        return self.predicted_us / self.measured_us - 1.0


class LatencyPredictor:
    """Predicts networks of known parts on one target."""

    def __init__(self, alone: PartCosts, context: Context, deviations: Deviations) -> None:
        self.alone = alone
        self.context = context
        self._deviations = deviations
        self._observations: tuple[Observation, ...] = ()

    @staticmethod
    def fit(alone: PartCosts, observations: Sequence[Observation]) -> "LatencyPredictor":
        """Learns from windows of parts and from whole networks.

        Args:
            alone: what parts cost alone.
            observations: windows and whole networks; whole ones also calibrate the interval.
        """
        made = _fit(alone, observations)
        made._observations = tuple(observations)
        return made

    def knowing(self, measured: Mapping[str, Cost]) -> "LatencyPredictor":
        """One that was told, by `Part.key`, what more parts cost alone."""
        return LatencyPredictor.fit(self.alone.knowing(measured), self._observations)

    def term(self, part: Part) -> Term:
        """What a part adds to any network."""
        return Term(
            part,
            self.alone.of(part).median_us,
            self.context.of(part),
            self._deviations.of(part),
        )

    def outside_us(self, chain: Chain) -> float:
        """What a network costs beside its parts."""
        return self.context.outside(chain)

    def expected_us(self, chain: Chain) -> float:
        """The latency to expect of a chain of parts."""
        return self.outside_us(chain) + fsum(self.term(part).total_us for part in chain)

    def predict(self, chain: Chain) -> Prediction:
        """The latency of a chain of parts, with an interval."""
        terms = tuple(self.term(part) for part in chain)
        freedom = max(len(self.left_out) - 1, _LEAST_FREEDOM)
        quantile = float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
        half = quantile * self._scale * self._error_us(chain)
        return Prediction(self.outside_us(chain), terms, half)

    @cached_property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Every whole network of several parts, predicted by what is fitted to the others."""
        return tuple(
            self._without(index)
            for index, seen in enumerate(self._observations)
            if seen.whole and len(seen.chain) > 1
        )

    @property
    def relative_error(self) -> float | None:
        """Root-mean-square relative error on networks left out of the fit; None without any."""
        if not self.left_out:
            return None
        return sqrt(fsum(one.relative_error**2 for one in self.left_out) / len(self.left_out))

    @cached_property
    def _scale(self) -> float:
        """By how much stated errors were exceeded; intervals are never made narrower by it."""
        if not self.left_out:
            return 1.0
        squares = [((o.predicted_us - o.measured_us) / o.error_us) ** 2 for o in self.left_out]
        return max(1.0, sqrt(fsum(squares) / len(squares)))

    def _error_us(self, chain: Chain) -> float:
        own = _OWN_ERROR * self.expected_us(chain)
        return sqrt(self._deviations.variance(chain) + own * own)

    def _without(self, index: int) -> LeftOut:
        seen = self._observations[index]
        others = _fit(self.alone, (*self._observations[:index], *self._observations[index + 1 :]))
        error = sqrt(others._error_us(seen.chain) ** 2 + seen.cost.error_us**2)
        return LeftOut(seen.name, others.expected_us(seen.chain), seen.cost.median_us, error)


def _fit(alone: PartCosts, observations: Sequence[Observation]) -> LatencyPredictor:
    context = Context.fit(observations, alone)
    wholes = [seen for seen in observations if seen.whole]
    bare = LatencyPredictor(alone, context, Deviations(alone, (), ()))
    gaps = [seen.cost.median_us - bare.expected_us(seen.chain) for seen in wholes]
    return LatencyPredictor(alone, context, Deviations.fit(alone, wholes, gaps))
