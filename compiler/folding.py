"""Folding: a network's graph with fewer nodes that computes the same.

Each rewrite is exact in the algebra and has a file of its own; in float32 answers differ by
rounding alone, as sums are taken in another order. They are repeated until nothing changes, since
one opens the way for another.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from onnx import AttributeProto, ModelProto

from backends.model import ExportedModel
from compiler.fold_convolutions import fold_convolutions
from compiler.fold_norms import fold_norms
from compiler.fold_resampling import fold_resampling
from compiler.fold_twins import fold_twins
from compiler.onnx_edit import GraphEdit

FOLDING = 1
"""Raised whenever a graph is folded otherwise; part of the key of every folded graph."""

REWRITES: dict[str, Callable[[GraphEdit], int]] = {
    "resampling": fold_resampling,
    "twins": fold_twins,
    "batch-norms": fold_norms,
    "convolutions": fold_convolutions,
}
"""What is done, in this order: removes nodes, and returns how many."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded model.

    Attributes:
        model: computes the same.
        nodes_before: of the graph as it was exported.
        nodes: of the folded graph.
        gone: nodes that each rewrite removed, by its name; those that removed none are left out.
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
    before, gone = len(proto.graph.node), Counter[str]()
    while not _branches(proto) and (counts := _pass(proto)):
        gone += counts
    if not gone:
        return Folded(model, before, before, ())
    found = tuple((name, gone[name]) for name in REWRITES if gone[name])
    made = ExportedModel.from_bytes(proto.SerializeToString(), name=model.name)
    return Folded(made, before, len(proto.graph.node), found)


def _pass(proto: ModelProto) -> Counter[str]:
    """Every rewrite once; what each removed, without those that removed nothing."""
    counts = Counter({name: rewrite(GraphEdit(proto)) for name, rewrite in REWRITES.items()})
    GraphEdit(proto).drop_unused()
    return +counts


def _branches(proto: ModelProto) -> bool:
    """Whether a node has graphs inside, which read values that no list of inputs names."""
    graphs = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    return any(a.type in graphs for node in proto.graph.node for a in node.attribute)
