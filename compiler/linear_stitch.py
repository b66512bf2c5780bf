"""Linear stitches between any two layouts: the product's 1x1 stitch, on the grid read as a map.

Between tokens of one grid and as many class and register tokens, all tokens are multiplied, as in
SN-Net (Pan et al., CVPR 2023). Elsewhere tokens before the source's grid are dropped, and those
before the target's are learnt constants.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from compiler.boundary import Boundary, FromMap, to_map
from compiler.stitching import Stitch, StitchShape


@dataclass(frozen=True, slots=True)
class LinearShape:
    """What a linear stitch costs depends on this alone.

    Attributes:
        source: the tensor that comes in.
        target: the tensor that goes out, on its donor's own grid.
    """

    source: Boundary
    target: Boundary

    @property
    def keeps_tokens(self) -> bool:
        """Whether class and register tokens go through with those of the grid."""
        goal = self.target.of_channels(self.source.channels)
        return goal == self.source and self.source.prefix > 0

    @property
    def stitch(self) -> StitchShape:
        """The 1x1 stitch between the two tensors read as maps."""
        if self.keeps_tokens:
            length = self.source.positions
            return StitchShape((self.source.channels, length, 1), (self.target.channels, length, 1))
        return StitchShape(self.source.chw, self.target.chw)

    @property
    def constants(self) -> int:
        """Class and register tokens that the stitch has to make."""
        return 0 if self.keeps_tokens else self.target.prefix

    @property
    def params(self) -> int:
        """Weights, biases, and constant tokens where the target needs some."""
        return self.stitch.params + self.constants * self.target.channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates, batch 1."""
        return self.stitch.macs

    def read_source(self, x: Tensor) -> Tensor:
        """What comes in as a map."""
        return _column(x) if self.keeps_tokens else to_map(x, self.source)

    def read_target(self, y: Tensor) -> Tensor:
        """What goes out as a map; constant tokens are left out."""
        return _column(y) if self.keeps_tokens else to_map(y, self.target)

    def describe(self) -> str:
        """`pointwise 96x14x14>112x14x14`: with the shapes."""
        return f"{self.stitch.kind} {self.stitch}"

    def __str__(self) -> str:
        """`linear pointwise, stride 1`."""
        return f"linear {self.stitch.kind}, stride {self.stitch.stride}"


class LinearStitch(nn.Module):
    """Joins two segments: the source's tensor in, the target's out; fitted by least squares."""

    def __init__(self, shape: LinearShape) -> None:
        super().__init__()
        self.shape = shape
        self.stitch = Stitch(shape.stitch)
        self.leave = nn.Flatten(2) if shape.keeps_tokens else FromMap(shape.target)

    def forward(self, x: Tensor) -> Tensor:
        """Read as a map, multiply and resample, write in the target's layout."""
        y: Tensor = self.leave(self.stitch(self.shape.read_source(x)))
        return y.transpose(1, 2) if self.shape.keeps_tokens else y

    @property
    def constants(self) -> nn.Parameter | None:
        """The constant tokens (1, P, C'), where there are any."""
        return self.leave.prefix if isinstance(self.leave, FromMap) else None


def _column(tokens: Tensor) -> Tensor:
    """(N, L, C) as a map (N, C, L, 1)."""
    return tokens.transpose(1, 2).unsqueeze(3)
