"""Input sizes: architectures that are made for one size, changed to another.

timm's transformers refuse pictures of another size than the one they were made for; most of them
have a method that changes it, and resamples position embeddings where there are any.
"""

import copy
import warnings
from collections.abc import Iterator
from inspect import signature
from typing import Any

from torch import nn

_REFUSALS = (AssertionError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


def sized_copies(module: nn.Module, size: int) -> Iterator[nn.Module]:
    """Copies of a network that take pictures of `size` pixels a side, the most faithful first.

    Windows of attention keep their size where they can: then a block is the same function of its
    window as before. Else they are scaled with the picture, by the network's own rule.
    """
    change = getattr(module, "set_input_size", None)
    if change is None:
        return
    windows = _window(module) if "window_size" in signature(change).parameters else None
    for options in [{"window_size": windows}, {}] if windows else [{}]:
        resized = _resized(module, size, options)
        if resized is not None:
            yield resized


def _resized(module: nn.Module, size: int, options: dict[str, Any]) -> nn.Module | None:
    resized: Any = copy.deepcopy(module)
    try:
        with warnings.catch_warnings():
            # timm's resampling of position biases is written for older versions of torch.
            warnings.filterwarnings("ignore", category=UserWarning, module="timm")
            resized.set_input_size(img_size=(size, size), **options)
    except _REFUSALS:
        return None
    assert isinstance(resized, nn.Module)
    return resized.eval()


def _window(module: nn.Module) -> tuple[int, int] | None:
    """The largest window of attention in a network, in positions; None where there is none."""
    found = [getattr(part, "window_size", None) for part in module.modules()]
    sizes = [tuple(size) for size in found if isinstance(size, tuple | list) and len(size) == 2]
    return max(sizes) if sizes else None
