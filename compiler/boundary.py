"""Boundary: the tensor between two segments of a recipe's network, whatever its layout.

Networks lay the same grid over an image in three ways: as a map (N, C, S, S), as a map with the
channels last (N, S, S, C), or as a row of tokens (N, L, C), the class and register tokens first.
Joining them means to read one as a map, and to write a map as another.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from backends.model import TensorSpec
from compiler.dissection import Cut
from targets.errors import UsageError

_LAYOUTS = ("NCHW", "NHWC", "NLC")


@dataclass(frozen=True, slots=True)
class Boundary:
    """A tensor that lays a square grid over the image.

    Attributes:
        layout: NCHW, NHWC or NLC.
        channels: features of every position.
        side: positions a side.
        prefix: class and register tokens before the grid's (NLC alone).
    """

    layout: str
    channels: int
    side: int
    prefix: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no tensor with a grid."""
        known = self.layout in _LAYOUTS and (self.layout == "NLC" or not self.prefix)
        if not known or min(self.channels, self.side) < 1 or self.prefix < 0:
            raise UsageError(f"{self} is no tensor with a grid. Use one of {', '.join(_LAYOUTS)}.")

    @staticmethod
    def at(cut: Cut, whose: str) -> "Boundary":
        """What crosses a cut of the donor `whose`.

        Raises:
            UsageError: it lays no square grid over the image.
        """
        grid = cut.token_grid
        if cut.tensor.layout not in _LAYOUTS or len(grid) != 2 or grid[0] != grid[1]:
            raise UsageError(
                f"Nothing can be joined to {whose} at '{cut.name}': what crosses there, "
                f"{cut.tensor.layout} {cut.tensor.shape}, lays no square grid over the image. "
                "Choose another node."
            )
        return Boundary(cut.tensor.layout, cut.channels, grid[0], cut.prefix_tokens)

    @property
    def is_map(self) -> bool:
        """Whether convolutions take it as it is; else it is tokens, with or without a grid."""
        return self.layout == "NCHW"

    @property
    def positions(self) -> int:
        """Positions of the grid and tokens before them."""
        return self.side**2 + self.prefix

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor, for batch 1."""
        if self.layout == "NLC":
            return (1, self.positions, self.channels)
        if self.layout == "NHWC":
            return (1, self.side, self.side, self.channels)
        return (1, self.channels, self.side, self.side)

    @property
    def chw(self) -> tuple[int, int, int]:
        """Channels, height and width of the grid read as a map."""
        return self.channels, self.side, self.side

    def spec(self, name: str) -> TensorSpec:
        """The tensor for batch 1."""
        return TensorSpec(name, self.shape, layout=self.layout)

    def of_side(self, side: int) -> "Boundary":
        """The same on another grid."""
        return replace(self, side=side)

    def of_channels(self, channels: int) -> "Boundary":
        """The same with other features."""
        return replace(self, channels=channels)

    def without_prefix(self) -> "Boundary":
        """The grid's positions alone."""
        return replace(self, prefix=0)

    def __str__(self) -> str:
        """`NLC 192x14x14+1`: channels, grid, tokens before it."""
        prefix = f"+{self.prefix}" if self.prefix else ""
        return f"{self.layout} {self.channels}x{self.side}x{self.side}{prefix}"


def to_map(x: Tensor, boundary: Boundary) -> Tensor:
    """Read a tensor at a boundary as a map (N, C, S, S); tokens before the grid are dropped."""
    if boundary.layout == "NHWC":
        return x.permute(0, 3, 1, 2)
    if boundary.layout == "NLC":
        return x[:, boundary.prefix :].transpose(1, 2).reshape(len(x), *boundary.chw)
    return x


class FromMap(nn.Module):
    """Writes a map (N, C, S, S) as the tensor of a boundary.

    Tokens before the grid cannot come out of a map: they are learnt constants, zero at first.
    """

    def __init__(self, boundary: Boundary) -> None:
        super().__init__()
        self.boundary = boundary
        shape = (1, boundary.prefix, boundary.channels)
        self.prefix = nn.Parameter(torch.zeros(shape)) if boundary.prefix else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) to the boundary's layout."""
        if self.boundary.layout == "NHWC":
            return x.permute(0, 2, 3, 1)
        if self.boundary.layout == "NCHW":
            return x
        tokens = x.flatten(2).transpose(1, 2)
        if self.prefix is None:
            return tokens
        return torch.cat([self.prefix.expand(len(x), -1, -1), tokens], dim=1)
