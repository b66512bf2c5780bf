"""DeRy's new layers: the adapters between segments, the stem before them, the head behind them.

As in DeRy (Yang et al., "Deep Model Reassembly", NeurIPS 2022): a map is normalized by a batch-norm
and projected by a convolution whose kernel is its stride; tokens are normalized by a layer-norm and
projected by a linear layer; LeakyReLU follows. Nothing about them is random but their first
weights: strides and grids follow from the shapes, so the network that is counted is the one built.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compiler.boundary import Boundary, FromMap, to_map
from targets.errors import UsageError

SLOPE = 0.1
"""Of the LeakyReLU behind every adapter."""

_KERNEL = 7


@dataclass(frozen=True, slots=True)
class DeryShape:
    """What an adapter costs depends on this alone.

    Attributes:
        source: the tensor that comes in.
        target: the tensor that goes out. Where its grid is not the one that the stride gives, the
            adapter interpolates bilinearly.
        stride: of its convolution; between tokens there is none, and it is 1.
    """

    source: Boundary
    target: Boundary
    stride: int = 1

    def __post_init__(self) -> None:
        """Refuse a stride that the source cannot be convolved with."""
        if not 1 <= self.stride <= self.source.side:
            raise UsageError(
                f"A stitch from {self.source} cannot have stride {self.stride}. Use 1 to "
                f"{self.source.side}."
            )
        if self.mode == "vit2vit" and self.stride != 1:
            raise UsageError(
                f"A dery stitch between tokens ({self.source} to {self.target}) is a linear layer "
                f"and has no stride; stride {self.stride} was asked for. Leave it out."
            )

    @property
    def mode(self) -> str:
        """DeRy's name of the transition: cnn2cnn, cnn2vit, vit2vit or vit2cnn."""
        names = ["cnn" if end.is_map else "vit" for end in (self.source, self.target)]
        return "2".join(names)

    @property
    def side(self) -> int:
        """Positions a side behind the convolution, before any resampling."""
        return self.source.side // self.stride

    @property
    def resamples(self) -> bool:
        """Whether the target's grid is not the one that the stride gives."""
        return self.side != self.target.side

    @property
    def keeps_layout(self) -> bool:
        """Whether tokens go through as they are, class and register tokens with them."""
        goal = self.target.of_channels(self.source.channels)
        return self.mode == "vit2vit" and goal == self.source

    @property
    def params(self) -> int:
        """Normalization, projection, and constant tokens where the target needs some."""
        channels = self.target.channels
        constants = 0 if self.keeps_layout else self.target.prefix * channels
        return self.source.channels * (2 + channels * self.stride**2) + constants

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the projection, batch 1."""
        source = self.source if self.keeps_layout else self.source.without_prefix()
        positions = source.positions if self.mode == "vit2vit" else (self.side * self.stride) ** 2
        return self.source.channels * self.target.channels * positions

    def describe(self) -> str:
        """`dery cnn2cnn, stride 1: NCHW 224x28x28 > NCHW 40x28x28`: with the shapes."""
        return f"{self}: {self.source} > {self.target}"

    def __str__(self) -> str:
        """`dery cnn2cnn, stride 1`."""
        resampled = f", resampled to {self.target.side}x{self.target.side}"
        stride = "" if self.mode == "vit2vit" else f", stride {self.stride}"
        return f"dery {self.mode}{stride}{resampled if self.resamples else ''}"


class DeryStitch(nn.Module):
    """Joins two segments: the source's tensor in, the target's out, for any batch."""

    def __init__(self, shape: DeryShape) -> None:
        super().__init__()
        self.shape = shape
        inputs, outputs = shape.source.channels, shape.target.channels
        if shape.mode == "vit2vit":
            self.norm: nn.Module = nn.LayerNorm(inputs)
            self.project: nn.Module = nn.Linear(inputs, outputs, bias=False)
        else:
            self.norm = nn.BatchNorm2d(inputs)
            self.project = nn.Conv2d(inputs, outputs, shape.stride, shape.stride, bias=False)
        self.act = nn.LeakyReLU(SLOPE)
        self.leave = nn.Identity() if shape.keeps_layout else FromMap(shape.target)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize, project, activate, and bring the result into the target's layout."""
        shape = self.shape
        if shape.mode != "vit2vit":
            return self._written(self._projected(to_map(x, shape.source)))
        if shape.keeps_layout:
            return self._projected(x)
        grid = x[:, shape.source.prefix :] if shape.source.prefix else x
        tokens = shape.source.without_prefix().of_channels(shape.target.channels)
        return self._written(to_map(self._projected(grid), tokens))

    def _projected(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.project(self.norm(x)))
        return y

    def _written(self, y: Tensor) -> Tensor:
        written: Tensor = self.leave(_resampled(y, self.shape.target.side))
        return written


@dataclass(frozen=True, slots=True)
class StemShape:
    """DeRy's stem: 7x7 convolution of stride 2, batch-norm, ReLU, 3x3 max-pool of stride 2.

    Attributes:
        input_size: pixels a side that come in.
        target: what the first segment takes; bilinear interpolation where it is on another grid.
    """

    input_size: int
    target: Boundary

    @staticmethod
    def side_for(input_size: int) -> int:
        """Positions a side behind the stem, before any resampling."""
        return _halved(_halved(input_size))

    @property
    def params(self) -> int:
        """Convolution, batch-norm, and constant tokens where the segment needs some."""
        channels = self.target.channels
        return channels * (3 * _KERNEL**2 + 2 + self.target.prefix)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolution, batch 1."""
        return 3 * _KERNEL**2 * self.target.channels * _halved(self.input_size) ** 2

    def __str__(self) -> str:
        """`dery`, and what it resamples to."""
        side = self.target.side
        resampled = f", resampled to {side}x{side}"
        return f"dery{resampled if side != self.side_for(self.input_size) else ''}"


class DeryStem(nn.Module):
    """(N, 3, S, S) to what the first segment takes; untrained."""

    def __init__(self, shape: StemShape) -> None:
        super().__init__()
        channels = shape.target.channels
        self.shape = shape
        self.conv = nn.Conv2d(3, channels, _KERNEL, 2, _KERNEL // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.leave = FromMap(shape.target)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, pool, and bring the result into the first segment's layout."""
        y = self.pool(self.act(self.norm(self.conv(x))))
        written: Tensor = self.leave(_resampled(y, self.shape.target.side))
        return written


@dataclass(frozen=True, slots=True)
class HeadShape:
    """DeRy's head: the mean over the grid, then a linear layer; no normalization.

    Attributes:
        source: what the last segment gives.
        classes: logits that go out.
    """

    source: Boundary
    classes: int

    @property
    def params(self) -> int:
        """Weights and biases."""
        return (self.source.channels + 1) * self.classes

    @property
    def macs(self) -> int:
        """Multiply-accumulates, batch 1."""
        return self.source.channels * self.classes

    def __str__(self) -> str:
        """`dery, 1000 classes`."""
        return f"dery, {self.classes} classes"


class DeryHead(nn.Module):
    """What the last segment gives to (N, classes) logits; untrained."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        self.classifier = nn.Linear(shape.source.channels, shape.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens before the grid take no part."""
        logits: Tensor = self.classifier(to_map(x, self.shape.source).mean((2, 3)))
        return logits


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within this context torch draws from `seed`; its global random state is as before after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _resampled(x: Tensor, side: int) -> Tensor:
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def _halved(side: int) -> int:
    """What a convolution or pool of stride 2 makes of a side, padded by half its odd kernel."""
    return (side - 1) // 2 + 1
