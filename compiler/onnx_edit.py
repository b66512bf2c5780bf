"""`GraphEdit`: an ONNX graph under rewriting, with who writes and who reads each value."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper
from onnx.shape_inference import infer_shapes

Array = NDArray[Any]

_SMALL = 1024


class GraphEdit:
    """One model under rewriting; no control flow inside, weights in the initializers.

    Attributes:
        graph: the graph itself.
        shapes: static shapes of all values that have one.
    """

    def __init__(self, proto: ModelProto) -> None:
        """Take a model; it is changed in place."""
        self.graph: GraphProto = proto.graph
        self.shapes = static_shapes(infer_shapes(_light(proto)).graph)
        self._initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self._outputs = {value.name for value in self.graph.output}
        self._producers: dict[str, NodeProto] = {
            name: node for node in self.graph.node for name in node.output
        }
        self._readers = Counter(name for node in self.graph.node for name in node.input)

    def nodes(self, op_type: str) -> list[NodeProto]:
        """The nodes of one operator, in the graph's order."""
        return [node for node in self.graph.node if node.op_type == op_type]

    def producer(self, value: str) -> NodeProto | None:
        """The node that writes a value; None for inputs and weights."""
        return self._producers.get(value)

    def reads(self, value: str) -> int:
        """How often nodes read a value."""
        return self._readers[value]

    def read_once(self, value: str) -> bool:
        """Whether one node alone reads it, and the graph does not answer with it."""
        return self._readers[value] == 1 and value not in self._outputs

    def only_reader(self, value: str) -> NodeProto | None:
        """The one node that reads a value; None if several do, or the graph answers with it."""
        if not self.read_once(value):
            return None
        reader: NodeProto = next(node for node in self.graph.node if value in node.input)
        return reader

    def constant(self, value: str) -> Array | None:
        """The numbers of an initializer; None for anything that is computed."""
        tensor = self._initializers.get(value)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def parameters(self, conv: NodeProto) -> tuple[Array, Array] | None:
        """A convolution's weight and bias in float64, zeros for no bias; None if computed."""
        weight = self.constant(conv.input[1])
        if weight is None:
            return None
        bias = self.constant(conv.input[2]) if len(conv.input) > 2 else np.zeros(len(weight))
        return None if bias is None else (weight.astype(np.float64), bias.astype(np.float64))

    def set_parameters(self, conv: NodeProto, source: str, weight: Array, bias: Array) -> None:
        """Have a convolution read `source`, with this weight and bias in float32."""
        name = conv.input[1]
        made = self.add_constant(name, weight.astype(np.float32))
        shift = self.add_constant(f"{name}_bias", bias.astype(np.float32))
        self.replace_inputs(conv, (source, made, shift))

    def add_constant(self, like: str, array: Array) -> str:
        """Add an initializer; its name is made from that of another value."""
        names = (f"{like}_folded{i or ''}" for i in range(len(self._initializers) + 1))
        name = next(n for n in names if n not in self._initializers and n not in self._producers)
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.graph.initializer.append(tensor)
        self._initializers[name] = tensor
        return name

    def replace_inputs(self, node: NodeProto, inputs: Iterable[str]) -> None:
        """Have a node read other values."""
        self._readers.subtract(node.input)
        node.input[:] = list(inputs)
        self._readers.update(node.input)

    def remove(self, node: NodeProto, instead: str | None = None) -> None:
        """Take a node out.

        Args:
            node: of one output; nobody may read that, unless `instead` is given.
            instead: the value that its readers read from now on. The graph's outputs keep their
                names: a node that writes one must not be removed.
        """
        (output,) = node.output
        assert output not in self._outputs
        self._readers.subtract(node.input)
        self.graph.node.remove(node)
        del self._producers[output]
        if instead is not None:
            for reader in self.graph.node:
                if output in reader.input:
                    self.replace_inputs(
                        reader, (instead if n == output else n for n in reader.input)
                    )
        assert not self._readers[output]

    def removable(self, node: NodeProto) -> bool:
        """Whether a node can be taken out without renaming what the graph answers with."""
        return len(node.output) == 1 and node.output[0] not in self._outputs

    def drop_unused(self) -> None:
        """Remove weights that nobody reads, and stale notes on shapes."""
        used = {name for node in self.graph.node for name in node.input} | self._outputs
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        written = {name for node in self.graph.node for name in node.output}
        notes = [value for value in self.graph.value_info if value.name in written]
        del self.graph.value_info[:]
        self.graph.value_info.extend(notes)


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a two-dimensional convolution steps over its input.

    Attributes:
        strides: of height and width.
        pads: top, left, bottom, right.
        dilations: of height and width.
    """

    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)


def geometry(conv: NodeProto, weight: Array) -> Geometry | None:
    """That of a convolution; None where it has not two dimensions, or pads by a rule."""
    told = attributes(conv)
    if weight.ndim != 4 or told.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return None
    (down, across), (tall, wide) = (told.get(n, (1, 1)) for n in ("strides", "dilations"))
    pads = tuple(told.get("pads", (0, 0, 0, 0)))
    return Geometry((down, across), pads, (tall, wide))


def either_order(node: NodeProto) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The inputs of a node whose order does not matter, in both."""
    names = tuple(node.input)
    return names, names[::-1]


def fed_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """The inputs that whoever runs a graph gives it: older files list weights beside them."""
    held = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in held]


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def set_attributes(node: NodeProto, values: Mapping[str, Any]) -> None:
    """Set some of a node's attributes, and leave the others."""
    kept = [a for a in node.attribute if a.name not in values]
    made = [helper.make_attribute(name, value) for name, value in values.items()]
    del node.attribute[:]
    node.attribute.extend([*kept, *made])


def _light(proto: ModelProto) -> ModelProto:
    """A model without the numbers of its weights, which say nothing of shapes and are copied.

    Small tensors stay: targets of reshapes are among them.
    """
    light = ModelProto(ir_version=proto.ir_version)
    light.opset_import.extend(proto.opset_import)
    for field in ("node", "input", "output", "value_info"):
        getattr(light.graph, field).extend(getattr(proto.graph, field))
    for tensor in proto.graph.initializer:
        if prod(tensor.dims) <= _SMALL:
            light.graph.initializer.append(tensor)
        else:
            said = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            light.graph.input.append(said)
    light.graph.name = proto.graph.name
    return light


def static_shapes(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    """Shapes of all values of which every dimension is a number."""
    found = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found
