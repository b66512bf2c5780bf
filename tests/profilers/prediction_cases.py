"""Parts and networks whose latency is known because it follows a rule."""

from collections.abc import Mapping, Sequence

from profilers.context import Context
from profilers.parts import Chain, Cost, Observation, Part, inner_bytes

ERROR_US = 0.01


def part(key: str, macs: int = 1000, weights: int = 4000, nodes: int = 3, edge: int = 100) -> Part:
    return Part(key, "block", macs, weights, nodes, edge, 2 * edge)


PARTS = tuple(
    part(f"b{i}", 1000 * (i + 1), weights, nodes, edge)
    for i, (weights, nodes, edge) in enumerate(
        [(4000, 3, 100), (90000, 2, 700), (100, 9, 50), (30000, 5, 3000), (8000, 1, 20)]
    )
)
CHAINS: tuple[Chain, ...] = (
    *((PARTS[i], PARTS[j]) for i in range(5) for j in range(5) if i != j),
    PARTS,
    PARTS[::-1],
    PARTS[:3],
    PARTS[2:],
)


def alone_us(one: Part) -> float:
    return 50.0 + one.macs / 10


def true_us(chain: Chain, context: Context, whole: bool) -> float:
    """What the rule of `Context.fit` says."""
    total = sum(alone_us(one) for one in chain)
    total -= context.engine_us * (len(chain) - 1) + context.edge_byte_us * inner_bytes(chain)
    if whole:
        total += sum(
            context.weight_byte_us * one.weight_bytes + context.node_us * one.nodes for one in chain
        )
    return total


def observed(
    context: Context, chains: Sequence[Chain] = CHAINS, extra: Mapping[str, float] | None = None
) -> list[Observation]:
    """Every chain once as a window and once whole; in whole ones some parts cost extra."""
    more = extra or {}
    seen = []
    for number, chain in enumerate(chains):
        for whole in (False, True):
            us = true_us(chain, context, whole)
            us += whole * sum(more.get(one.key, 0.0) for one in chain)
            seen.append(Observation(f"{number} {whole}", chain, Cost(us, ERROR_US), whole))
    return seen
