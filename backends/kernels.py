"""What a runtime really executes: its kernels, and how many multiply-accumulates each does.

A precision that was asked for is no precision that runs: an optimizer that cannot fuse a quantized
operator computes it in float, silently. So the kernels are read from the graph that ONNX Runtime
made, with the shapes that it saw in an inference.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from onnx import NodeProto

from backends.model import ExportedModel
from backends.ort import NodeRun, trace
from targets.target import Target

Shape = Sequence[int]

INTEGER = frozenset(
    {
        *("ConvInteger", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"),
        *("QGemm", "QLinearConv", "QLinearMatMul"),
    }
)
"""Kernels that multiply integers."""

_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Which input holds the weights, by kernel."""
_PRODUCTS = frozenset(
    {
        *("FusedGemm", "FusedMatMul", "Gemm", "MatMul"),
        *("DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"),
        *("QGemm", "QLinearMatMul"),
    }
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One node that was executed.

    Attributes:
        op_type: Its operator, after all optimizations.
        macs: Multiply-accumulates of a convolution or matrix product; 0 for everything else.
        node: The node of the model that it stands for; empty where the runtime put it in.
    """

    op_type: str
    macs: int
    node: str = ""

    @property
    def integer(self) -> bool:
        """Whether it multiplies integers."""
        return self.op_type in INTEGER


def executed(model: ExportedModel, target: Target) -> tuple[Kernel, ...]:
    """The kernels of one inference, in the order in which they ran.

    Raises:
        TargetUnavailableError: ONNX Runtime is not installed.
        UsageError: It cannot load or run this model.
    """
    found = trace(model, target)
    nodes = {node.name: node for node in found.graph.node}
    weights = {tensor.name: tuple(tensor.dims) for tensor in found.graph.initializer}
    return tuple(
        Kernel(
            run.op_type,
            _macs(nodes[run.name], run, weights) if run.name in nodes else 0,
            run.source,
        )
        for run in found.runs
    )


def kernels(model: ExportedModel, target: Target) -> Mapping[str, int]:
    """How often each kernel runs in an inference, by its operator; raises as `executed` does."""
    return Counter(kernel.op_type for kernel in executed(model, target))


def integer_share(found: Iterable[Kernel]) -> float:
    """The share of all multiply-accumulates, 0 to 1, that integer kernels do; 0 where are none."""
    listed = list(found)
    total = sum(kernel.macs for kernel in listed)
    return sum(kernel.macs for kernel in listed if kernel.integer) / total if total else 0.0


def _macs(node: NodeProto, run: NodeRun, weights: Mapping[str, Shape]) -> int:
    if node.op_type in _CONVOLUTIONS:
        index = _CONVOLUTIONS[node.op_type]
        # Weights that were packed beforehand are missing among the inputs that the runtime saw.
        weight = weights.get(node.input[index]) or run.inputs[index]
        return prod(run.output) * prod(weight[1:])
    if node.op_type in _PRODUCTS:
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return prod(run.output) * run.inputs[0][-2 if turned else -1]
    return 0
