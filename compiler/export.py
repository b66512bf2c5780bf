"""Export: torch modules go in, ONNX comes out. Torch stays above this line (the waist)."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnx.utils
import timm
import torch
from torch import nn

from backends.model import ExportedModel, TensorSpec
from compiler.dissection import Cut, Dissection
from compiler.folding import FOLDING, fold_proto

OPSET = 18

INPUT_NAME, OUTPUT_NAME = "image", "logits"
"""What a whole network's input and output are called."""

TOOLCHAIN = (OPSET, torch.__version__, timm.__version__)
"""What an exported graph depends on besides the network; part of every cache key."""

GRAPHS = (*TOOLCHAIN, FOLDING)
"""The same of a folded graph, as blocks and networks are."""


def export(
    module: nn.Module, input_spec: TensorSpec, name: str, output: str = "y"
) -> ExportedModel:
    """Turn a module of one input and one output into an ONNX graph of a fixed batch.

    Batch-norms are folded into the convolutions before them by the exporter's optimizer, which is
    exact in inference.

    Args:
        module: exported as it behaves in eval mode; its own mode is left as it was.
        input_spec: name and shape of the input, batch included.
        name: what the exported model is called in tables and errors.
        output: name of the output.
    """
    return export_all(module, input_spec, name, [output])


def export_all(
    module: nn.Module, input_spec: TensorSpec, name: str, outputs: list[str]
) -> ExportedModel:
    """The same of a module of several outputs, under these names."""
    proto = _proto(module, input_spec, name, outputs)
    return ExportedModel.from_bytes(proto.SerializeToString(), name=name)


def _proto(
    module: nn.Module, input_spec: TensorSpec, name: str, outputs: list[str]
) -> onnx.ModelProto:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    example = torch.zeros(input_spec.shape, dtype=getattr(torch, input_spec.dtype))
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[input_spec.name],
                output_names=outputs,
                verbose=False,
            )
    finally:
        for part, was_training in modes:
            part.training = was_training
    assert program is not None
    proto = program.model_proto
    proto.graph.name = name
    _strip_notes(proto)
    return proto


def _strip_notes(proto: onnx.ModelProto) -> None:
    """Drop stack traces and other notes: they carry paths of the machine that exported."""
    graph = proto.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
    del proto.metadata_props[:]
    del graph.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own progress notes off the user's screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class ExportedDonor:
    """A donor exported and folded once, with every cut's tensor marked; its blocks are read out.

    Exporting and folding each block by itself gives the same graphs and takes ten times as long.
    """

    def __init__(self, dissection: Dissection) -> None:
        self._dissection = dissection
        size = dissection.input_size
        names = [f"cut_{i}" for i in range(1, len(dissection.cuts))]
        name = f"{dissection.name}@{size}"
        first = TensorSpec("cut_0", (1, 3, size, size))
        proto = _proto(_Marked(dissection).eval(), first, name, names)
        fold_proto(proto)
        self._extractor = onnx.utils.Extractor(proto)

    def marked(self) -> ExportedModel:
        """The donor with the tensor at every cut as an output, named as `mark` says."""
        return ExportedModel.from_bytes(self._extractor.model.SerializeToString())

    def mark(self, cut: Cut) -> str:
        """The name of a cut's tensor in `marked`."""
        return f"cut_{self._dissection.cuts.index(cut)}"

    def run(self, start: Cut, end: Cut, name: str) -> ExportedModel:
        """The run between two cuts, input `x`, output `y`, batch 1."""
        source, target = self.mark(start), self.mark(end)
        proto = self._extractor.extract_model([source], [target])
        _rename(proto, {source: "x", target: "y"})
        proto.graph.name = name
        return ExportedModel.from_bytes(proto.SerializeToString(), name=name)


class _Marked(nn.Module):
    """A donor whose answer is the tensor at every cut behind the input."""

    def __init__(self, dissection: Dissection) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(dissection.module(b.start, b.end) for b in dissection.blocks)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found


def _rename(proto: onnx.ModelProto, names: dict[str, str]) -> None:
    """Rename values wherever they are written or read."""
    graph = proto.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
