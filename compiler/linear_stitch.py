"""Linear stitches between any two layouts: the product's 1x1 stitch, on the grid read as a map."""

from dataclasses import dataclass

from torch import Tensor, nn

from compiler.boundary import Boundary, FromMap, to_map
from compiler.stitching import Stitch, StitchShape


@dataclass(frozen=True, slots=True)
class LinearShape:
    """What a linear stitch costs depends on this alone.

    Attributes:
        source: the tensor that comes in; tokens before its grid are dropped.
        target: the tensor that goes out, on its donor's own grid.
    """

    source: Boundary
    target: Boundary

    @property
    def stitch(self) -> StitchShape:
        """The 1x1 stitch between the two grids read as maps."""
        return StitchShape(self.source.chw, self.target.chw)

    @property
    def params(self) -> int:
        """Weights, biases, and constant tokens where the target needs some."""
        return self.stitch.params + self.target.prefix * self.target.channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates, batch 1."""
        return self.stitch.macs

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
        self.leave = FromMap(shape.target)

    def forward(self, x: Tensor) -> Tensor:
        """Read as a map, multiply and resample, write in the target's layout."""
        joined: Tensor = self.leave(self.stitch(to_map(x, self.shape.source)))
        return joined
