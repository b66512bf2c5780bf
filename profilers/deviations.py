"""`Deviations`: by how much each part differs from what is known of it, told by whole networks.

A Gaussian process over chains (kriging; Rasmussen and Williams, "Gaussian Processes for Machine
Learning", 2006, equations 2.23 to 2.26 and 5.10 to 5.12). Every part deviates independently, with
a standard error made of its measurement's and of a share of its latency. A network that was
measured whole says what the deviations of its parts add up to.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import hypot

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from profilers.least_squares import Matrix, Vector
from profilers.part_costs import PartCosts
from profilers.parts import Chain, Observation, Part, distinct

SHARES = (0.06, 0.1, 0.15)
DEFAULT_SHARE = 0.06
LEAST_WHOLES = 6
"""With fewer whole networks the share is taken on trust."""

_LEAST_WHOLE_ERROR = 0.005  # relative: a network is not known more closely than this


@dataclass(frozen=True)
class Deviations:
    """What whole networks tell of parts.

    Attributes:
        alone: what parts cost alone.
        wholes: the networks that were measured whole.
        gaps: for each of them, measured minus predicted without any deviation, in microseconds.
        share: standard deviation of a part's deviation, as a share of its latency.
    """

    alone: PartCosts
    wholes: tuple[Observation, ...]
    gaps: tuple[float, ...]
    share: float = DEFAULT_SHARE

    @staticmethod
    def fit(alone: PartCosts, wholes: Sequence[Observation], gaps: Sequence[float]) -> "Deviations":
        """Chooses the share under which each network is best foretold by the others."""
        made = [Deviations(alone, tuple(wholes), tuple(gaps), share) for share in SHARES]
        if len(wholes) < LEAST_WHOLES:
            return Deviations(alone, tuple(wholes), tuple(gaps))
        return max(made, key=lambda one: one.left_out_likelihood)

    def of(self, part: Part) -> float:
        """Expected deviation of one occurrence of a part, in microseconds."""
        return self._by_part.get(part, 0.0)

    def variance(self, chain: Chain) -> float:
        """Variance of what the chain's deviations add up to, given the wholes."""
        loads = self._loads(chain)
        prior = sum(load * load for load in loads.values())
        if not self.wholes:
            return prior
        covariance = self._matrix @ np.array([loads.get(part, 0.0) for part in self._parts])
        return max(0.0, prior - float(covariance @ cho_solve(self._factor, covariance)))

    @property
    def left_out_likelihood(self) -> float:
        """Log-likelihood of every whole given the others."""
        inverse = np.diagonal(cho_solve(self._factor, np.eye(len(self.wholes))))
        residual = self._weights / inverse
        return float(np.sum(0.5 * np.log(inverse) - 0.5 * residual**2 * inverse))

    def _spread(self, part: Part) -> float:
        cost = self.alone.of(part)
        return hypot(self.share * cost.median_us, cost.error_us)

    def _loads(self, chain: Chain) -> dict[Part, float]:
        counts = Counter(chain)
        return {part: count * self._spread(part) for part, count in counts.items()}

    @cached_property
    def _parts(self) -> tuple[Part, ...]:
        return distinct([whole.chain for whole in self.wholes])

    @cached_property
    def _matrix(self) -> Matrix:
        """(wholes, parts): how much a standard deviation of each part moves each whole."""
        loads = [self._loads(whole.chain) for whole in self.wholes]
        return np.array([[load.get(part, 0.0) for part in self._parts] for load in loads])

    @cached_property
    def _factor(self) -> tuple[Matrix, bool]:
        noise = [
            max(w.cost.error_us, _LEAST_WHOLE_ERROR * w.cost.median_us) ** 2 for w in self.wholes
        ]
        factor, lower = cho_factor(self._matrix @ self._matrix.T + np.diag(noise))
        return np.asarray(factor), bool(lower)

    @cached_property
    def _weights(self) -> Vector:
        return np.asarray(cho_solve(self._factor, np.array(self.gaps)))

    @cached_property
    def _by_part(self) -> dict[Part, float]:
        if not self.wholes:
            return {}
        pulls = self._matrix.T @ self._weights
        return {
            part: self._spread(part) * float(pull)
            for part, pull in zip(self._parts, pulls, strict=True)
        }
