"""`Context`: what a part costs inside a network beyond what it costs alone.

Measured alone, a block is run again and again: its weights and its code stay in the nearest
caches. It also pays what every engine pays once, and the conversion of its edges to the runtime's
inner layout. Inside a network it is the other way round. Four numbers describe this for a target.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from profilers.least_squares import non_negative
from profilers.part_costs import PartCosts
from profilers.parts import Chain, Cost, Observation, Part, inner_bytes

_LEAST_RELATIVE_ERROR = 0.02  # no sum of parts is believed more closely than this


@dataclass(frozen=True, slots=True)
class Context:
    """Corrections from alone to inside a network, in microseconds, none negative.

    Attributes:
        engine_us: that every engine costs once, however many parts it has.
        edge_byte_us: of a byte that crosses the edge of an engine.
        weight_byte_us: of a weight byte that is no longer in the nearest cache.
        node_us: of an operator whose code and data are no longer in the nearest cache.
    """

    engine_us: float = 0.0
    edge_byte_us: float = 0.0
    weight_byte_us: float = 0.0
    node_us: float = 0.0

    def of(self, part: Part) -> float:
        """What is to be added to a part's latency alone; may be negative."""
        inside = self.weight_byte_us * part.weight_bytes + self.node_us * part.nodes
        engine = 0.0 if part.joined else self.engine_us
        return inside - engine - self.edge_byte_us * part.edge_bytes

    def outside(self, chain: Chain) -> float:
        """What a network costs beside its parts: one engine, and its two edges."""
        edges = chain[0].input_bytes + chain[-1].output_bytes
        return self.engine_us + self.edge_byte_us * edges

    @staticmethod
    def fit(observations: Sequence[Observation], alone: PartCosts) -> "Context":
        """Least squares in units of each observation's error.

        With n parts (without those that are joined to a neighbour) of W weight bytes and N nodes,
        of which E bytes cross inner edges, a chain that takes T differs from the sum S of its
        parts alone by

            T - S = weight x W + node x N - engine x (n - 1) - edge x E,

        where the first two count in whole networks only.
        """
        seen = [o for o in observations if len(o.chain) > 1]
        if not seen:
            return Context()
        rows = np.array([_row(observation) for observation in seen])
        gaps = np.array([o.cost.median_us - _sum(o.chain, alone) for o in seen])
        errors = np.array([_error(o.cost) for o in seen])
        return Context(*non_negative(rows / errors[:, None], gaps / errors).tolist())


def _row(observation: Observation) -> tuple[float, ...]:
    chain, whole = observation.chain, float(observation.whole)
    return (
        -float(sum(not part.joined for part in chain) - 1),
        -float(inner_bytes(chain)),
        whole * sum(part.weight_bytes for part in chain),
        whole * sum(part.nodes for part in chain),
    )


def _sum(chain: Chain, alone: PartCosts) -> float:
    return sum(alone.of(part).median_us for part in chain)


def _error(cost: Cost) -> float:
    return max(cost.error_us, _LEAST_RELATIVE_ERROR * cost.median_us)
