"""Checkpoints under foreign names: renamed by the filter that the architecture brings along."""

import sys
from collections.abc import Mapping

from torch import Tensor, nn

State = Mapping[str, Tensor]

_FILTER = "checkpoint_filter_fn"
# What a filter does with a checkpoint that is not of its network at all.
_REFUSALS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def in_own_names(state: State, module: nn.Module) -> State:
    """The tensors under the network's own names, where its architecture knows how.

    As timm has it, the Python module that defines an architecture may have a function
    `checkpoint_filter_fn(state, model)` that turns the files of its authors into the model's own
    names. It is asked where names differ, and believed where its answer has every name the network
    has and no other. Otherwise the tensors come back as they were, and whoever loads them says
    what is wrong with them.

    Args:
        state: names and tensors of a file.
        module: the network, also on the meta device.
    """
    rename = getattr(sys.modules.get(type(module).__module__), _FILTER, None)
    wanted = _counted(module.state_dict())
    if rename is None or _counted(state) == wanted:
        return state
    try:
        renamed = rename(dict(state), module)
    except _REFUSALS:
        return state
    return renamed if isinstance(renamed, dict) and _counted(renamed) == wanted else state


def _counted(state: State) -> set[str]:
    """The names, without those of batch counters, which old files do not have."""
    return {name for name in state if not name.endswith("num_batches_tracked")}
