"""Segment runs: the part of a donor that a recipe takes, cut for the grid that arrives.

There are two kinds. A `GraphRun` is a run of the donor's exported graph. A `TokenRun` is a run of
a vision transformer's blocks over the tokens of the grid alone: where a map is turned into tokens
there is no class token, and DeRy adds none, but an exported graph counts on it.
"""

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from backends.model import TensorSpec
from compiler.boundary import Boundary
from compiler.dissection import Cut, Dissection
from compiler.macs import module_macs
from compiler.recipe import RecipeSegment
from targets.errors import ZooError

_REFUSALS = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, IndexError)


@dataclass(frozen=True, slots=True)
class GraphRun:
    """A run of a donor's graph between two cuts.

    Attributes:
        segment: what the recipe calls it.
        dissection: the donor at the size that gives the segment its grid.
        start: the cut before it.
        end: the cut behind it.
    """

    segment: RecipeSegment
    dissection: Dissection
    start: Cut
    end: Cut

    @property
    def source(self) -> Boundary:
        """What comes in; raises UsageError where it has no grid."""
        return Boundary.at(self.start, self.segment.model)

    @property
    def target(self) -> Boundary:
        """What goes out; raises UsageError where it has no grid."""
        return Boundary.at(self.end, self.segment.model)

    @property
    def input_size(self) -> int:
        """The donor's input size in pixels that gives the segment its grid."""
        return self.dissection.input_size

    @property
    def params(self) -> int:
        """Parameters inside."""
        return self.dissection.block(self.start, self.end).params

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers, batch 1."""
        return self.dissection.block(self.start, self.end).macs

    @property
    def cut_names(self) -> tuple[str, str]:
        """The cuts it lies between, in the donor's naming."""
        return self.start.name, self.end.name

    def end_tensor(self, name: str) -> TensorSpec:
        """What goes out, grid or logits, batch 1."""
        return replace(self.end.tensor, name=name)

    def module(self) -> nn.Module:
        """The run as a module with parameters of its own, copied from the donor."""
        return copy.deepcopy(self.dissection.module(self.start, self.end))


class Blocks(nn.Module):
    """Transformer blocks one after another: tokens (N, L, C) in and out, whatever L."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Run every block."""
        for block in self.blocks:
            x = block(x)
        return x


@dataclass(frozen=True, slots=True)
class TokenRun:
    """A run of a vision transformer's blocks over the grid's tokens alone.

    Attributes:
        segment: what the recipe calls it.
        whole: the same run of the donor's graph, class token and all.
        donor: the donor.
        source: the grid's tokens that come in.
    """

    segment: RecipeSegment
    whole: GraphRun
    donor: nn.Module
    source: Boundary

    def __post_init__(self) -> None:
        """Refuse blocks that need more than the tokens before them.

        Raises:
            ZooError: run one after another, the blocks compute something else than the donor.
        """
        graph = self.whole.dissection.module(self.whole.start, self.whole.end)
        x = _tokens(self.whole.source, self.donor)
        try:
            with torch.no_grad():
                same = _alike(Blocks(self._blocks())(x), graph(x))
        except _REFUSALS:
            same = False
        if not same:
            raise ZooError(
                f"The segment {self.segment} cannot run on the tokens of a grid alone: its blocks "
                "need more than the tokens before them. Use a linear stitch before it, which "
                "gives it class tokens, or another donor."
            )

    @property
    def target(self) -> Boundary:
        """What goes out: as many tokens."""
        return self.source.of_channels(self.whole.target.channels)

    @property
    def input_size(self) -> int:
        """The donor's input size in pixels that has this grid."""
        return self.source.side * self.whole.start.stride

    @property
    def params(self) -> int:
        """Parameters inside."""
        return sum(parameter.numel() for b in self._blocks() for parameter in b.parameters())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers, batch 1."""
        return module_macs(Blocks(self._blocks()), _tokens(self.source, self.donor))

    @property
    def cut_names(self) -> tuple[str, str]:
        """The cuts it lies between, in the donor's naming."""
        return self.whole.cut_names

    def end_tensor(self, name: str) -> TensorSpec:
        """What goes out, batch 1."""
        return self.target.spec(name)

    def module(self) -> Blocks:
        """The run as a module with parameters of its own, copied from the donor."""
        return Blocks([copy.deepcopy(block) for block in self._blocks()]).eval()

    def _blocks(self) -> list[nn.Module]:
        inside = range(self.whole.start.position + 1, self.whole.end.position + 1)
        nodes = self.whole.dissection.nodes
        return [self.donor.get_submodule(n.name) for n in nodes if n.end.position in inside]


Run = GraphRun | TokenRun


def _tokens(boundary: Boundary, donor: nn.Module) -> Tensor:
    device = next(donor.parameters()).device
    generator = torch.Generator().manual_seed(0)
    return torch.randn(boundary.shape, generator=generator).to(device)


def _alike(a: Tensor, b: Tensor) -> bool:
    if a.is_meta:
        return a.shape == b.shape
    return torch.allclose(a, b, rtol=1e-3, atol=1e-4)
