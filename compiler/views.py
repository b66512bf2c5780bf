"""Views: batches of pixels that donors with different normalizations can share."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from compiler.images import ImageSet
from compiler.preprocessing import Preprocessing

BATCH = 32


@dataclass(frozen=True, slots=True)
class Views:
    """Deterministic views of an image set: the centre crop, then random crops and flips.

    Iterating gives float32 batches (N, 3, S, S) in [0, 1], not normalized: each donor normalizes
    the same pixels in its own way. Images are read again at every pass, so that memory does not
    grow with their number.

    Attributes:
        images: what is looked at.
        preprocessing: size, crop and interpolation (its mean and std are not applied).
        per_image: views of each image; the first is the centre crop.
        seed: of the random crops.
    """

    images: ImageSet
    preprocessing: Preprocessing
    per_image: int = 1
    seed: int = 0

    def __len__(self) -> int:
        return len(self.images) * self.per_image

    def __iter__(self) -> Iterator[Tensor]:
        batch: list[Tensor] = []
        for view in self._single():
            batch.append(view)
            if len(batch) == BATCH:
                yield _stack(batch)
                batch = []
        if batch:
            yield _stack(batch)

    def _single(self) -> Iterator[Tensor]:
        """All images once, then all of them again: a batch never holds one image twice."""
        for turn in range(self.per_image):
            for index in range(len(self.images)):
                image = self.images.load(index)
                if turn == 0:
                    yield self.preprocessing.pixels(image)
                else:
                    seed = (self.seed * 1_000_003 + index) * 1_009 + turn
                    generator = torch.Generator().manual_seed(seed)
                    yield self.preprocessing.random_view(image, generator)


def _stack(views: list[Tensor]) -> Tensor:
    """Channels last in memory, which torch convolves about twice as fast on a CPU."""
    return torch.stack(views).contiguous(memory_format=torch.channels_last)
