"""Caps: how large the blocks of a partition may be, donor by donor."""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from compiler.similarity_table import ModelNodes
from targets.errors import UsageError

Bools = NDArray[np.bool_]

_ROUNDING = 1e-9
"""Caps are raised by this share, so that 1.2 * 10 / 4 admits a block of 3."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The largest blocks, as shares of an even cut.

    A donor of N nodes and P parameters that is cut into K blocks may have blocks of at most
    (1 + epsilon) N / K nodes and (1 + param_epsilon) P / K parameters. Nothing is rounded: 3.6
    admits 3 nodes and not 4. A block of one node keeps the cap on parameters whatever it weighs,
    because it cannot be made smaller. P counts the parameters of the nodes alone.

    Attributes:
        epsilon: for nodes; None: no cap. DeRy uses 0.2 (Yang et al. 2022, section 3.2).
        param_epsilon: for parameters; None, as in DeRy: no cap. Networks have most parameters in
            their last nodes, so that a tight cap here contradicts a tight one on nodes.
    """

    epsilon: float | None = 0.2
    param_epsilon: float | None = None

    def __post_init__(self) -> None:
        """Refuse shares that are no caps."""
        for name, value in (("epsilon", self.epsilon), ("param_epsilon", self.param_epsilon)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(
                    f"{name} is {value}. Give a number that is not negative, such as 0.2, or none."
                )

    def allowed(self, model: ModelNodes, k: int) -> Bools:
        """Which blocks keep the caps, (n + 1, n + 1) by first and last boundary."""
        count = len(model)
        nodes, params = _sizes(model)
        fits = nodes > 0
        if self.epsilon is not None:
            fits &= nodes <= _raised(self.epsilon) * count / k
        if self.param_epsilon is not None:
            total = sum(model.params)
            fits &= (params <= _raised(self.param_epsilon) * total / k) | (nodes == 1)
        return fits


def legal_blocks(model: ModelNodes, k: int, caps: Caps) -> Bools:
    """The blocks that some partition into `k` blocks within the caps has, (n + 1, n + 1).

    Raises:
        UsageError: there is no such partition; says the smallest epsilon with which there is one.
    """
    if k < 1:
        raise UsageError(f"Asked for {k} blocks of each donor. Ask for 1 or more.")
    if k > len(model):
        raise UsageError(
            f"{model.name} has {len(model)} nodes, so it cannot be cut into {k} blocks. Ask for "
            "fewer blocks (-k), or leave this donor out."
        )
    found = _on_a_path(caps.allowed(model, k), k)
    if not found.any():
        raise UsageError(_refusal(model, k, caps))
    return found


def _sizes(model: ModelNodes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Nodes and parameters between any two boundaries; negative where they are reversed."""
    boundaries = np.arange(len(model) + 1)
    before = np.concatenate([[0], np.cumsum(model.params)])
    return boundaries[None, :] - boundaries[:, None], before[None, :] - before[:, None]


def _raised(epsilon: float) -> float:
    return (1.0 + epsilon) * (1.0 + _ROUNDING)


def _on_a_path(allowed: Bools, k: int) -> Bools:
    """The allowed blocks that lie on a path of exactly `k` blocks from end to end."""
    boundaries = np.arange(len(allowed))
    reached, reaching = [boundaries == 0], [boundaries == len(allowed) - 1]
    for _ in range(k - 1):
        reached.append((reached[-1][:, None] & allowed).any(axis=0))
        reaching.append((allowed & reaching[-1][None, :]).any(axis=1))
    found = np.zeros_like(allowed)
    for first in range(k):
        found |= reached[first][:, None] & allowed & reaching[k - 1 - first][None, :]
    return found


def _refusal(model: ModelNodes, k: int, caps: Caps) -> str:
    asked = (
        [f"at most {(1 + caps.epsilon) * len(model) / k:g} nodes"]
        if caps.epsilon is not None
        else []
    )
    if caps.param_epsilon is not None:
        asked.append(f"at most {(1 + caps.param_epsilon) * sum(model.params) / k:,.0f} parameters")
    return (
        f"{model.name} has {len(model)} nodes and {sum(model.params):,} parameters in them, and "
        f"cannot be cut into {k} blocks of {' and '.join(asked)}. {_remedy(model, k, caps)} Or ask "
        "for another number of blocks (-k), or leave this donor out."
    )


def _remedy(model: ModelNodes, k: int, caps: Caps) -> str:
    nodes, params = _least_epsilon(model, k, caps), _least_param_epsilon(model, k, caps)
    if nodes is not None and params is not None:
        return f"The smallest epsilon with which it can is {nodes:g}, or param_epsilon {params:g}."
    if nodes is not None:
        return f"The smallest epsilon with which it can is {nodes:g}."
    if params is not None:
        return f"The smallest param_epsilon with which it can is {params:g}."
    nodes = _least_epsilon(model, k, replace(caps, param_epsilon=None))
    params = _least_param_epsilon(model, k, replace(caps, epsilon=nodes))
    return f"It can with epsilon {nodes:g} and param_epsilon {params:g} together."


def _least_epsilon(model: ModelNodes, k: int, caps: Caps) -> float | None:
    """The least epsilon, to a thousandth, that makes a partition possible; None: none does."""
    if caps.epsilon is None:
        return None
    steps = [_thousandths(size * k / len(model)) for size in range(1, len(model) + 1)]
    return _least(steps, lambda epsilon: replace(caps, epsilon=epsilon), model, k)


def _least_param_epsilon(model: ModelNodes, k: int, caps: Caps) -> float | None:
    if caps.param_epsilon is None:
        return None
    nodes, params = _sizes(model)
    sizes = np.unique(params[nodes > 0])
    steps = [_thousandths(float(size) * k / max(1, sum(model.params))) for size in sizes]
    return _least(steps, lambda epsilon: replace(caps, param_epsilon=epsilon), model, k)


def _least(
    steps: list[float], capped: Callable[[float], Caps], model: ModelNodes, k: int
) -> float | None:
    """The first of ascending epsilons with which the donor can be cut; larger ones allow more."""

    def possible(epsilon: float) -> bool:
        return bool(_on_a_path(capped(epsilon).allowed(model, k), k).any())

    position = bisect_left(steps, True, key=possible)
    return steps[position] if position < len(steps) else None


def _thousandths(ratio: float) -> float:
    """`ratio` - 1, not below 0, rounded up to three digits."""
    return max(0.0, math.ceil((ratio - 1.0) * 1000 - 1e-6) / 1000)
