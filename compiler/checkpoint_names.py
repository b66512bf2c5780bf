"""Checkpoints under foreign names: what was put before or beside the network's own is taken off."""

import re
import sys
from collections import Counter
from collections.abc import Mapping

from torch import Tensor, nn

State = Mapping[str, Tensor]

_FILTER = "checkpoint_filter_fn"
_DEEPEST_PREFIX = 3
# DenseNets of PyTorch 0.3 and older: `norm.1` is `norm1` now.
_DENSE = re.compile(r"(.*\bdenselayer\d+\.(?:norm|relu|conv))\.([12]\..+)")
# Heads of Inception networks that only their training uses.
_TRAINING_HEADS = ("AuxLogits.", "aux1.", "aux2.")
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
    """The tensors under the network's own names, as far as they can be told.

    What training tools put before all names (`module.`, `_orig_mod.`, `model.`, `backbone.`, ...)
    is taken off where that lets more of them be the network's own. Heads that only training uses
    are left out.

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
    state = _modern(_unprefixed(state, wanted), wanted)
    if rename is None or _counted(state) == wanted:
        return state
    try:
        renamed = rename(dict(state), module)
    except _REFUSALS:
        return state
    return renamed if isinstance(renamed, dict) and _counted(renamed) == wanted else state


def _unprefixed(state: State, wanted: set[str]) -> State:
    """Without the first part of the names, or up to three, where more of them are wanted then."""
    best = shorter = state
    for _ in range(_DEEPEST_PREFIX):
        firsts = Counter(name.partition(".")[0] for name in shorter if "." in name)
        if not firsts:
            break
        prefix = f"{firsts.most_common(1)[0][0]}."
        stripped = {name.removeprefix(prefix): tensor for name, tensor in shorter.items()}
        if len(stripped) < len(shorter):  # two names would become one
            break
        shorter = stripped
        if len(wanted & shorter.keys()) > len(wanted & best.keys()):
            best = shorter
    return best


def _modern(state: State, wanted: set[str]) -> State:
    """With the names of today, and without heads that the network does not have."""
    unused = tuple(
        head for head in _TRAINING_HEADS if not any(name.startswith(head) for name in wanted)
    )
    renamed = {}
    for name, tensor in state.items():
        old = None if name in wanted else _DENSE.fullmatch(name)
        own = "".join(old.groups()) if old else name
        if not own.startswith(unused):
            renamed[own] = tensor
    return renamed


def _counted(state: State) -> set[str]:
    """The names, without those of batch counters, which old files do not have."""
    return {name for name in state if not name.endswith("num_batches_tracked")}
