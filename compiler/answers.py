"""Answers: what networks and engines say to images, and how alike two of them are."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backends.backend import Engine
from compiler.design import DesignedNetwork
from compiler.export import INPUT_NAME
from compiler.images import ImageSet
from compiler.preprocessing import Preprocessing
from compiler.views import Views

Logits = NDArray[np.float32]
Image = NDArray[np.float32]


def inputs_of(
    preprocessing: Preprocessing, images: ImageSet, most: int | None = None
) -> Iterator[Image]:
    """What a network is given for images, or the first of them: normalized, (1, 3, S, S)."""
    count = len(images) if most is None else min(most, len(images))
    ready = map(preprocessing.normalize, Views(images.subset(range(count)), preprocessing))
    return (image[None] for batch in ready for image in batch.contiguous().numpy())


@torch.no_grad()
def logits(
    network: nn.Module, batches: Iterable[Tensor], normalize: Callable[[Tensor], Tensor]
) -> Logits:
    """The network's answers to batches of pixels in [0, 1]: (images, classes)."""
    parts = [network(normalize(pixels)).numpy() for pixels in batches]
    return np.concatenate(parts).astype(np.float32)


def engine_answers(engine: Engine, images: Iterable[Image], name: str = INPUT_NAME) -> Logits:
    """An engine's logits (images, classes) for normalized images, (1, 3, S, S) each.

    `name` is what the engine calls its input.
    """
    rows = [next(iter(engine.run({name: image}).values())) for image in images]
    return np.concatenate(rows).astype(np.float32)


def answer(network: DesignedNetwork, images: ImageSet) -> Logits:
    """The network's logits (images, classes) on centre crops with its own preprocessing."""
    views = Views(images, network.preprocessing)
    return logits(network, views, network.preprocessing.normalize)
