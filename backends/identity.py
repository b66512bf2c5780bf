"""Content hashes of an ONNX graph that do not depend on how its values are named.

The canonical form numbers nodes in the order of a depth-first walk from the graph's outputs, so
that neither names nor the order of independent nodes count, and nodes that no output needs do not
either. A value that is used twice and two values that are computed alike stay apart, because they
cost differently.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.inliner import inline_local_functions
from onnx.numpy_helper import to_array

SMALL = 64
"""Float constants of up to this size count by value in `structure`, unless they are weights."""

_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
)
# Inputs that hold weights: their values never decide how long a kernel takes, however few they are.
_WEIGHT_INPUTS: dict[str, frozenset[int]] = {
    "Conv": frozenset({1, 2}),
    "ConvTranspose": frozenset({1, 2}),
    "Gemm": frozenset({0, 1, 2}),
    "MatMul": frozenset({0, 1}),
    "BatchNormalization": frozenset({1, 2, 3, 4}),
    "InstanceNormalization": frozenset({1, 2}),
    "LayerNormalization": frozenset({1, 2}),
    "GroupNormalization": frozenset({1, 2}),
    "RMSNormalization": frozenset({1}),
    "PRelu": frozenset({1}),
    "QuantizeLinear": frozenset({1, 2}),
    "DequantizeLinear": frozenset({0, 1, 2}),
}
# Their constants are scales, zero points and quantized weights: those count by shape in any type.
_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
# A vector beside the activation is a bias or a scale; a scalar may be special (times 1, plus 0).
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div"})


@dataclass(frozen=True, slots=True)
class Identity:
    """What identifies a graph: two hashes and two counts."""

    key: str
    structure: str
    nodes: int
    params: int


def identify(proto: ModelProto) -> Identity:
    """Hashes a model with its weights (`key`) and without the weights' values (`structure`)."""
    nodes = len(proto.graph.node)
    params = sum(_size(tensor) for tensor in proto.graph.initializer if tensor.data_type in _FLOATS)
    if proto.functions:
        proto = inline_local_functions(proto)
    return Identity(
        key=_digest(proto, values=True),
        structure=_digest(proto, values=False),
        nodes=nodes,
        params=params,
    )


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every constant tensor of a graph: initializers and attributes, subgraphs included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in _subgraphs(attribute):
                yield from tensors(inner)


def has_branches(node: NodeProto) -> bool:
    """Whether a node has graphs inside, which read values that no list of inputs names."""
    graphs = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    return any(a.type in graphs or any(_subgraphs(a)) for a in node.attribute)


def _digest(proto: ModelProto, *, values: bool) -> str:
    digest = hashlib.sha256()
    walk = _Walk(values)
    lines = walk.graph(proto.graph, {})
    domains = {_domain(node.domain) for node in _all_nodes(proto.graph)}
    opsets = sorted(
        (_domain(entry.domain), entry.version)
        for entry in proto.opset_import
        if _domain(entry.domain) in domains
    )
    for line in (f"opsets {opsets}", *lines):
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


@dataclass(slots=True)
class _Scope:
    """Names of one graph: what each value is called in the canonical form."""

    tokens: dict[str, str]
    producers: dict[str, NodeProto]
    constants: dict[str, TensorProto]
    weights: frozenset[str]
    lines: list[str] = field(default_factory=list)


class _Walk:
    """Writes a graph's canonical form, a line per input, constant, node and output."""

    def __init__(self, values: bool) -> None:
        self._values = values
        self._count = 0

    def graph(self, graph: GraphProto, outer: dict[str, str]) -> list[str]:
        """Returns the canonical lines; `outer` names the values of the graphs around this one."""
        scope = _Scope(
            tokens=dict(outer),
            producers={name: node for node in graph.node for name in node.output if name},
            constants={tensor.name: tensor for tensor in graph.initializer},
            weights=_weights(graph),
        )
        for value in graph.input:
            if value.name not in scope.constants:
                scope.tokens[value.name] = self._number("in")
                scope.lines.append(f"{scope.tokens[value.name]} {_type(value)}")
        self._visit([value.name for value in graph.output], scope)
        for value in graph.output:
            scope.lines.append(f"out {scope.tokens[value.name]} {_type(value)}")
        return scope.lines

    def _visit(self, names: Iterable[str], scope: _Scope) -> None:
        stack = list(reversed(list(names)))
        while stack:
            name = stack[-1]
            if name in scope.tokens:
                stack.pop()
            elif name in scope.constants:
                self._constant(name, scope)
            else:
                node = scope.producers[name]
                missing = [need for need in _needs(node, scope) if need not in scope.tokens]
                stack.extend(reversed(missing))
                if not missing:
                    self._node(node, scope)

    def _constant(self, name: str, scope: _Scope) -> None:
        scope.tokens[name] = self._number("const")
        content = self._tensor(scope.constants[name], weight=name in scope.weights)
        scope.lines.append(f"{scope.tokens[name]} {content}")

    def _node(self, node: NodeProto, scope: _Scope) -> None:
        number = self._number("node")
        for index, name in enumerate(node.output):
            if name:
                scope.tokens[name] = f"{number}.{index}"
        inputs = [scope.tokens[name] if name else "-" for name in node.input]
        used = "".join("1" if name else "0" for name in node.output)
        attributes = [
            self._attribute(attribute, node, scope)
            for attribute in sorted(node.attribute, key=lambda attribute: attribute.name)
        ]
        domain = _domain(node.domain)
        scope.lines.append(f"{number} {domain}::{node.op_type} {inputs} {used} {attributes}")

    def _attribute(self, attribute: AttributeProto, node: NodeProto, scope: _Scope) -> str:
        if attribute.HasField("t"):
            weight = bool(node.output) and node.output[0] in scope.weights
            return f"{attribute.name}={self._tensor(attribute.t, weight=weight)}"
        inner = list(_subgraphs(attribute))
        if inner:
            bodies = [self.graph(body, scope.tokens) for body in inner]
            return f"{attribute.name}={bodies}"
        plain = AttributeProto()
        plain.CopyFrom(attribute)
        plain.ClearField("doc_string")
        return bytes(plain.SerializeToString(deterministic=True)).hex()

    def _tensor(self, tensor: TensorProto, *, weight: bool) -> str:
        shape = f"{tensor.data_type}{list(tensor.dims)}"
        if self._values or not _only_shape_counts(tensor, weight):
            return f"{shape} {_content(tensor)}"
        return shape

    def _number(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"


def _only_shape_counts(tensor: TensorProto, weight: bool) -> bool:
    if weight or _size(tensor) <= SMALL:
        return weight
    return tensor.data_type in _FLOATS or tensor.data_type == TensorProto.INT8


def _weights(graph: GraphProto) -> frozenset[str]:
    """Names of constants that are used as weights and as nothing else.

    Whole numbers may be shapes or indices, on which a latency depends: they are weights only where
    nothing but (de)quantization takes them.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
    sizes = {name: _size(tensor) for name, tensor in constants.items()}
    whole = {name for name, tensor in constants.items() if tensor.data_type not in _FLOATS}
    held: set[str] = set()
    other = {value.name for value in graph.output}
    for node in graph.node:
        slots = _WEIGHT_INPUTS.get(node.op_type, frozenset())
        for index, name in enumerate(node.input):
            vector = node.op_type in _ELEMENTWISE and sizes.get(name, 0) > 1
            weight = node.op_type in _QUANTIZERS or name not in whole
            (held if weight and (index in slots or vector) else other).add(name)
        other.update(_captured(node))
    return frozenset((held - other) & sizes.keys())


def _needs(node: NodeProto, scope: _Scope) -> list[str]:
    inner = [name for name in _captured(node) if name in scope.producers or name in scope.constants]
    return [*(name for name in node.input if name), *inner]


def _captured(node: NodeProto) -> list[str]:
    """Names that a node's subgraphs use and may take from around them, in order of appearance."""
    names: dict[str, None] = {}
    for attribute in node.attribute:
        for body in _subgraphs(attribute):
            own = {value.name for value in body.input} | {item.name for item in body.initializer}
            for inner in body.node:
                for name in (*inner.input, *_captured(inner)):
                    if name and name not in own:
                        names.setdefault(name)
                own.update(inner.output)
    return list(names)


def _subgraphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in _subgraphs(attribute):
                yield from _all_nodes(body)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _type(value: ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    return f"{tensor.elem_type}{[dim.dim_value for dim in tensor.shape.dim]}"


def _size(tensor: TensorProto) -> int:
    size = 1
    for dim in tensor.dims:
        size *= dim
    return size


def _content(tensor: TensorProto) -> str:
    array = to_array(tensor)
    if tensor.data_type == TensorProto.STRING:
        return hashlib.sha256(repr(array.tolist()).encode()).hexdigest()
    little = array.astype(tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()
