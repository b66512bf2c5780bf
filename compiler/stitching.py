"""Stitches: the layers that join blocks of different donors.

A stitch is a 1x1 convolution, initialized by least squares on real images as in SN-Net (Pan et
al., "Stitchable Neural Networks", CVPR 2023, section 3.2), with a ridge term because photographs
are few. Where the two grids differ it strides, or repeats positions, by a fixed rule.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backends.model import TensorSpec
from compiler.dissection import Cut

RIDGE = 1e-3

Kind = Literal["pointwise", "strided", "nearest"]


@dataclass(frozen=True, slots=True)
class StitchShape:
    """What a stitch costs depends on this alone.

    Attributes:
        source: (channels, height, width) that come in.
        target: (channels, height, width) that go out.
    """

    source: tuple[int, int, int]
    target: tuple[int, int, int]

    @staticmethod
    def between(source: Cut, target: Cut) -> "StitchShape":
        """The shape that joins the tensor at `source` to the one at `target`."""
        return StitchShape(_chw(source), _chw(target))

    @property
    def kind(self) -> Kind:
        """`pointwise` on equal grids, `strided` onto a coarser one, else `nearest`."""
        if self.source[1:] == self.target[1:]:
            return "pointwise"
        return "strided" if self.stride > 1 else "nearest"

    @property
    def stride(self) -> int:
        """The stride that lands exactly on the target's grid, or 1 where there is none."""
        sizes = tuple(zip(self.source[1:], self.target[1:], strict=True))
        stride = max(-(-size // goal) for size, goal in sizes)
        lands = stride > 1 and all(-(-size // stride) == goal for size, goal in sizes)
        return stride if lands else 1

    @property
    def params(self) -> int:
        """Weights and biases."""
        return (self.source[0] + 1) * self.target[0]

    @property
    def macs(self) -> int:
        """Multiply-accumulates; `nearest` multiplies on the coarser, incoming grid."""
        grid = self.source[1:] if self.kind == "nearest" else self.target[1:]
        return self.source[0] * self.target[0] * grid[0] * grid[1]

    @property
    def input_spec(self) -> TensorSpec:
        """The incoming tensor for batch 1."""
        return TensorSpec("x", (1, *self.source))

    def __str__(self) -> str:
        """`96x14x14>112x14x14`."""
        return ">".join("x".join(map(str, shape)) for shape in (self.source, self.target))


def _chw(cut: Cut) -> tuple[int, int, int]:
    _, channels, height, width = cut.tensor.shape
    return channels, height, width


class Stitch(nn.Module):
    """A 1x1 convolution with the resampling that its shape asks for.

    (N, C, H, W) -> (N, C', H', W').
    """

    def __init__(self, shape: StitchShape) -> None:
        super().__init__()
        self.shape = shape
        with torch.random.fork_rng(devices=[]):
            self.conv = nn.Conv2d(shape.source[0], shape.target[0], 1, stride=shape.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Join: multiply, and repeat positions afterwards where the target's grid is finer."""
        y: Tensor = self.conv(x)
        if self.shape.kind == "nearest":
            y = F.interpolate(y, size=self.shape.target[1:], mode="nearest")
        return y

    def load(self, weight: Tensor, bias: Tensor) -> None:
        """Take a least-squares solution: weight (C', C), bias (C',)."""
        with torch.no_grad():
            self.conv.weight.copy_(weight[:, :, None, None])
            self.conv.bias.copy_(bias)  # type: ignore[union-attr]


def resample(x: Tensor, shape: StitchShape) -> Tensor:
    """Bring a source activation onto the target's grid as the stitch does: (N, C, H', W')."""
    if shape.kind == "strided":
        return x[:, :, :: shape.stride, :: shape.stride]
    if shape.kind == "nearest":
        return F.interpolate(x, size=shape.target[1:], mode="nearest")
    return x


class LeastSquares:
    """Ridge regression with intercept, streamed: memory does not grow with the samples.

    Moments are kept in float64, about the first sample, so that a large mean costs no accuracy.
    `add` takes (n, p) and (n, q); `solve` gives (q, p) and (q,).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.n = 0
        self._first = torch.zeros(inputs + outputs, dtype=torch.float64)
        self._sum = torch.zeros(inputs + outputs, dtype=torch.float64)
        self._gram = torch.zeros(inputs + outputs, inputs + outputs, dtype=torch.float64)
        self._inputs = inputs

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add n samples: x (n, p), y (n, q)."""
        both = torch.cat([x, y], dim=1).double()
        if not self.n:
            self._first = both[0].clone()
        both -= self._first
        self.n += len(both)
        self._sum += both.sum(0)
        self._gram += both.T @ both

    def solve(self, ridge: float = RIDGE) -> tuple[Tensor, Tensor, float]:
        """The weight (q, p), bias (q,) and R2 of the fit, all float64.

        `ridge` is relative to the mean variance of the inputs.
        """
        mean = self._sum / self.n
        covariance = self._gram / self.n - torch.outer(mean, mean)
        return solve_centred(covariance, mean + self._first, slice(0, self._inputs), ridge)


def solve_centred(
    covariance: Tensor, mean: Tensor, inputs: slice, ridge: float = RIDGE
) -> tuple[Tensor, Tensor, float]:
    """Regress everything after `inputs.stop` on `inputs`, given centred second moments."""
    outputs = slice(inputs.stop, len(mean))
    xx, xy = covariance[inputs, inputs], covariance[inputs, outputs]
    weight = ridge_weight(xx, xy, ridge)
    r2 = r_squared(explained(xx, xy, weight), covariance.diagonal()[outputs])
    return weight.T, mean[outputs] - weight.T @ mean[inputs], r2


def ridge_weight(xx: Tensor, xy: Tensor, ridge: float = RIDGE) -> Tensor:
    """(p, q) weights from centred moments xx (p, p) and xy (p, q)."""
    # Dead inputs have no scale. The floor is no subnormal: a runtime may have these flushed to 0.
    scale = float(xx.diagonal().mean().clamp_min(1e-30))
    regular = xx + ridge * scale * torch.eye(len(xx), dtype=xx.dtype)
    return torch.cholesky_solve(xy, torch.linalg.cholesky(regular))


def explained(xx: Tensor, xy: Tensor, weight: Tensor) -> Tensor:
    """Variance of each target that the regression explains: (q,)."""
    return (weight * (2 * xy - xx @ weight)).sum(0)


def r_squared(explained: Tensor, variance: Tensor) -> float:
    """Explained share of the targets' total variance, at most 1; both (q,)."""
    total = float(variance.sum())
    return 1.0 if total <= 0.0 else min(1.0, float(explained.sum()) / total)
