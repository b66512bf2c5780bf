"""Folding: a network's graph with fewer nodes that computes the same.

Each rewrite is exact in the algebra and has a file of its own; in float32 answers differ by
rounding alone, as sums are taken in another order. They are repeated until nothing changes, since
one opens the way for another.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from onnx import ModelProto

from backends.identity import has_branches
from backends.model import ExportedModel
from compiler.fold_branches import fold_branches
from compiler.fold_convolutions import fold_convolutions
from compiler.fold_gelu import fold_gelu
from compiler.fold_means import fold_means
from compiler.fold_norms import fold_norms
from compiler.fold_resampling import fold_resampling
from compiler.fold_scales import fold_scales
from compiler.fold_twins import fold_twins
from compiler.onnx_edit import GraphEdit

FOLDING = 2
"""Raised whenever a graph is folded otherwise; part of the key of every folded graph."""

REWRITES: dict[str, Callable[[GraphEdit], int]] = {
    "resampling": fold_resampling,
    "twins": fold_twins,
    "batch-norms": fold_norms,
    "scales": fold_scales,
    "branches": fold_branches,
    "convolutions": fold_convolutions,
    "means": fold_means,
    "gelu": fold_gelu,
}
"""What is done, in this order; returns how many nodes it removed, or turned."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded model.

    Attributes:
        model: computes the same.
        nodes_before: of the graph as it was exported.
        nodes: of the folded graph.
        gone: nodes that each rewrite removed or turned, by its name; those that found none are left
            out.
    """

    model: ExportedModel
    nodes_before: int
    nodes: int
    gone: tuple[tuple[str, int], ...]


def fold(model: ExportedModel) -> Folded:
    """Fold whatever is exact.

    Args:
        model: with static shapes and weights inside. Its inputs and outputs keep their names.
    """
    proto = ModelProto.FromString(model.onnx)
    before = len(proto.graph.node)
    gone = fold_proto(proto)
    if not gone:
        return Folded(model, before, before, ())
    found = tuple((name, gone[name]) for name in REWRITES if gone[name])
    made = ExportedModel.from_bytes(proto.SerializeToString(), name=model.name)
    return Folded(made, before, len(proto.graph.node), found)


def fold_proto(proto: ModelProto) -> Counter[str]:
    """Fold a graph in place; what each rewrite removed or turned, by its name.

    Every output of the graph stays, so that nothing is folded across one.
    """
    gone = Counter[str]()
    while not any(map(has_branches, proto.graph.node)) and (counts := _pass(proto)):
        gone += counts
    return gone


def _pass(proto: ModelProto) -> Counter[str]:
    """Every rewrite once; what each removed, without those that removed nothing."""
    counts = Counter({name: rewrite(GraphEdit(proto)) for name, rewrite in REWRITES.items()})
    GraphEdit(proto).drop_unused()
    return +counts
