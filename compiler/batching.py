"""Batching: a graph of batch 1 becomes one of another batch, or of any.

Exported graphs are static: their batch is written into shapes, here and there. Weights, stitches
and folding stay as they are, so the graph itself is rewritten and not exported anew. In networks
for pictures the batch is the outermost dimension of every tensor that depends on the picture, if
need be multiplied by something (windows of attention). What that makes of a graph is an assumption:
whoever uses it compares answers.
"""

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from compiler.onnx_edit import GraphEdit, fed_inputs
from targets.errors import UsageError

SYMBOL = "batch"
"""What the batch is called where it is any number."""

_OWN = "derycc_batch"


def rebatch(proto: ModelProto, batch: int | None) -> ModelProto:
    """A copy of a graph for another batch.

    Args:
        proto: of batch 1, its one input named first; weights inside.
        batch: images at once; None: any number.

    Raises:
        UsageError: the batch is not a number from 1 on, or the graph's is not 1.
    """
    if batch is not None and batch < 1:
        raise UsageError(f"A graph cannot take {batch} images at once. Use 1 or more.")
    made = ModelProto()
    made.CopyFrom(proto)
    first = fed_inputs(made.graph)
    if len(first) != 1 or first[0].type.tensor_type.shape.dim[0].dim_value != 1:
        raise UsageError("Only a graph of one input and batch 1 can be given another batch.")
    if batch == 1:
        return made
    _Rebatching(made, batch).run()
    return made


class _Rebatching:
    """One graph on its way to another batch."""

    def __init__(self, proto: ModelProto, batch: int | None) -> None:
        self._proto = proto
        self._graph: GraphProto = proto.graph
        self._batch = batch
        self._shapes = GraphEdit(proto).shapes
        self._constants = {t.name: t for t in self._graph.initializer}
        self._input = fed_inputs(self._graph)[0].name
        self._depends = _downstream(self._graph, self._input)
        self._nodes: list[NodeProto] = []
        self._made: set[str] = set()

    def run(self) -> None:
        """Rewrite the graph in place."""
        del self._graph.value_info[:]
        rewrites = {
            "Reshape": self._reshape,
            "Expand": self._expand,
            "Resize": self._resize,
            "Concat": self._concat,
            "Gather": self._gather,
        }
        for node in list(self._graph.node):
            if node.op_type in rewrites and node.output[0] in self._depends:
                rewrites[node.op_type](node)
            self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        self._edges()
        GraphEdit(self._proto).drop_unused()

    def _edges(self) -> None:
        """Have the inputs and outputs say the batch."""
        for value in (*self._graph.input, *self._graph.output):
            if value.name in self._depends:
                dim = value.type.tensor_type.shape.dim[0]
                if self._batch is None:
                    dim.dim_param = SYMBOL
                else:
                    dim.dim_value = self._batch

    def _reshape(self, node: NodeProto) -> None:
        """The outermost dimension grows with the batch; all others are known."""
        shape = self._shapes.get(node.output[0])
        if not shape:
            return
        first = -1 if self._batch is None else shape[0] * self._batch
        node.input[1] = self._constant(np.array([first, *shape[1:]], dtype=np.int64))
        kept = [a for a in node.attribute if a.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(kept)

    def _expand(self, node: NodeProto) -> None:
        shape = self._shapes.get(node.output[0])
        if shape and shape[0] == 1:
            node.input[1] = self._sizes(shape)

    def _resize(self, node: NodeProto) -> None:
        """Sizes name the batch; `axes`, where it is there, may leave it out."""
        shape = self._shapes.get(node.output[0])
        sized = len(node.input) > 3 and bool(node.input[3])
        if shape and sized and not any(a.name == "axes" for a in node.attribute):
            node.input[3] = self._sizes(shape)

    def _gather(self, node: NodeProto) -> None:
        """Every element of a flat tensor in its order: how `as_strided` is written.

        Pooling a feature map to one position exports so; it is a reshape.
        """
        indices, shape = self._constants.get(node.input[1]), self._shapes.get(node.input[0])
        if indices is None or shape is None or len(shape) != 1 or len(indices.dims) < 2:
            return
        values = numpy_helper.to_array(indices)
        if values.size == shape[0] and np.array_equal(values.ravel(), np.arange(values.size)):
            node.op_type = "Reshape"
            del node.attribute[:]
            self._reshape(node)

    def _concat(self, node: NodeProto) -> None:
        """A constant beside a batched tensor, such as a class token, is repeated."""
        axis = next(a.i for a in node.attribute if a.name == "axis")
        rank = len(self._shapes.get(node.output[0], ()))
        if axis % max(rank, 1) == 0:
            return
        for index, name in enumerate(node.input):
            shape = (
                self._constants[name].dims if name in self._constants else self._shapes.get(name)
            )
            if name not in self._depends and shape and shape[0] == 1:
                node.input[index] = self._repeated(name, tuple(shape))

    def _repeated(self, name: str, shape: tuple[int, ...]) -> str:
        made = f"{name}_{_OWN}"
        if name not in self._made:
            self._nodes.append(helper.make_node("Expand", [name, self._sizes(shape)], [made]))
            self._made.add(name)
        return made

    def _sizes(self, shape: tuple[int, ...]) -> str:
        """A shape whose first dimension, 1 so far, is the batch; as a value of the graph."""
        if self._batch is not None:
            return self._constant(np.array([shape[0] * self._batch, *shape[1:]], dtype=np.int64))
        rest = self._constant(np.array(shape[1:], dtype=np.int64))
        made = f"{rest}_sizes"
        if made not in self._made:
            first = self._first()
            self._nodes.append(helper.make_node("Concat", [first, rest], [made], axis=0))
            self._made.add(made)
        return made

    def _first(self) -> str:
        """The batch, read from the input."""
        name = f"{_OWN}_size"
        if name not in self._made:
            node = helper.make_node("Shape", [self._input], [name], start=0, end=1)
            self._nodes.append(node)
            self._made.add(name)
        return name

    def _constant(self, values: np.ndarray) -> str:
        name = f"{_OWN}_{'_'.join(map(str, values.tolist()))}".replace("-", "m")
        if name not in self._constants:
            tensor = numpy_helper.from_array(values, name)
            self._graph.initializer.append(tensor)
            self._constants[name] = tensor
        return name


def _downstream(graph: GraphProto, first: str) -> set[str]:
    """All values that depend on one."""
    found = {first}
    for node in graph.node:
        if found.intersection(node.input):
            found.update(name for name in node.output if name)
    return found
