"""Mixed precision: a network of which some parts are in 8-bit integers, as one ONNX graph.

The graph is that of the float network; quantize and dequantize nodes are put around and inside the
parts that are in int8, calibrated by what arrives there for real photographs. Stitches stay float.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from backends.model import ExportedModel, TensorSpec
from backends.quantization import Quantizer, Scheme
from compiler.answers import inputs_of
from compiler.dissection import Dissection
from compiler.donors import Donors
from compiler.export import INPUT_NAME, OUTPUT_NAME, export_all
from compiler.folding import fold
from compiler.images import ImageSet
from compiler.network import Blueprint, Network, Segment
from compiler.precisions import INT8
from targets.errors import UsageError

CALIBRATION_IMAGES = 32
"""Most photographs that the ranges of activations are told by."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a segment, or a stitch."""

    module: nn.Module
    int8: bool = False


def export_mixed(
    network: Network,
    blueprint: Blueprint,
    donors: Donors,
    images: ImageSet,
    scheme: Scheme | None = None,
    name: str = "network",
) -> ExportedModel:
    """A network with its int8 parts as the graph that is measured, judged and emitted.

    Args:
        network: the float network, tuned.
        blueprint: what it is made of, and which parts of it are in int8.
        donors: where its segments come from.
        images: photographs that tell the ranges of activations; the first 32 do.
        scheme: how int8 is done; None: as this machine runs it fastest.
        name: of the graph.

    Returns:
        A graph of batch 1, `image` in, `logits` out. The nodes of the int8 parts are named by
        `backends.quantization.run_prefix`, in order.

    Raises:
        UsageError: an int8 part is no run of its segment, or has nothing to quantize.
    """
    parts = _parts(network, blueprint, donors)
    marks = _marks(parts)
    spec = TensorSpec(INPUT_NAME, (1, 3, blueprint.input_size, blueprint.input_size))
    outputs = [mark for mark in marks[1:] if mark]
    marked = export_all(_Marked(parts, marks).eval(), spec, name, outputs)
    arriving = inputs_of(network.preprocessing, images, CALIBRATION_IMAGES)
    samples = [{INPUT_NAME: image} for image in arriving]
    quantizer = Quantizer(fold(marked).model, samples, scheme, outputs[:-1])
    runs = [(marks[i], marks[i + 1]) for i, part in enumerate(parts) if part.int8]
    return quantizer.quantized(runs)


def _parts(network: Network, blueprint: Blueprint, donors: Donors) -> list[_Part]:
    """All pieces and stitches, in order, with the network's own weights."""
    found: list[_Part] = []
    for index, segment in enumerate(blueprint.segments):
        if index:
            found.append(_Part(network.stitches[index - 1]))
        dissection = donors.dissection(segment.model, blueprint.input_size)
        found += _pieces(segment, network.segments[index], dissection)
    return found


def _pieces(segment: Segment, tuned: nn.Module, dissection: Dissection) -> list[_Part]:
    if not segment.int8:
        return [_Part(tuned)]
    state, found = tuned.state_dict(), []
    position = dissection.cut(segment.start).position
    for piece in segment.pieces:
        start, end = dissection.cut(piece.start), dissection.cut(piece.end)
        if not position <= start.position < end.position:
            raise UsageError(
                f"The segment {segment} has the part {piece.start}..{piece.end}, which does not "
                "come after the one before it. Name int8 parts in order, inside their segment."
            )
        module = copy.deepcopy(dissection.module(start, end))
        module.load_state_dict({name: state[name] for name in module.state_dict()})
        found.append(_Part(module, piece.precision == INT8))
        position = end.position
    return found


def _marks(parts: Sequence[_Part]) -> list[str]:
    """The names of the tensors before, between and behind parts; empty where nobody asks."""
    asked = [before.int8 or after.int8 for before, after in pairwise(parts)]
    inner = [f"mark_{i}" if wanted else "" for i, wanted in enumerate(asked)]
    return [INPUT_NAME, *inner, OUTPUT_NAME]


class _Marked(nn.Module):
    """A network whose answers are the tensors at its marks, the logits last."""

    def __init__(self, parts: Sequence[_Part], marks: Sequence[str]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(part.module for part in parts)
        self.wanted = [bool(mark) for mark in marks[1:]]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Run every part."""
        found = []
        for part, wanted in zip(self.parts, self.wanted, strict=True):
            x = part(x)
            if wanted:
                found.append(x)
        return found
