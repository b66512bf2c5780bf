"""Layers of a built engine: what each was made of, the precision it runs in, and what it takes.

An engine tells its layers by `IEngineInspector`, as JSON whose keys changed between versions, and
their times by `IProfiler`. A layer is made of no node of the graph (TensorRT put it there to change
a format), of one, or, where it fused them, of several; its metadata names them. Times of layers are
taken in runs of their own, which profiling makes slower: they are scaled to the time of the engine.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from statistics import median
from typing import Any

_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_TYPES = (
    ("bf16", re.compile(r"\b(bf16|bfloat16)\b", re.IGNORECASE)),
    ("fp16", re.compile(r"\b(fp16|half|float16)\b", re.IGNORECASE)),
    ("fp8", re.compile(r"\bfp8", re.IGNORECASE)),
    ("int8", re.compile(r"\bint8\b", re.IGNORECASE)),
    ("fp32", re.compile(r"\b(fp32|float|float32)\b", re.IGNORECASE)),
)
"""Names of types in both forms, the narrow ones first: what a format is called may hold several."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an engine.

    Attributes:
        name: What the profiler calls it.
        kind: TensorRT's word for what it does.
        nodes: The nodes of the graph that it was made of; none where TensorRT put it there.
        precision: Of what it computes from: its first input, or its output where it has none.
        inputs: Names of the tensors that it reads.
        outputs: Names of the tensors that it writes.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    precision: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attribution:
    """An engine's time, shared out.

    Attributes:
        seconds: Of each owner; all of them and `unattributed` add up to the engine's.
        unattributed: Seconds of layers that nobody owns.
        fused: Layers that were made of nodes of several owners.
        overhead: How many times the engine's time the layers' times add up to.
    """

    seconds: Mapping[str, float]
    unattributed: float
    fused: tuple[str, ...]
    overhead: float

    @property
    def unattributed_share(self) -> float:
        """Of the engine's time."""
        whole = fsum([*self.seconds.values(), self.unattributed])
        return self.unattributed / whole if whole else 0.0


def read_layers(inspected: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The layers that an inspector tells of.

    An engine that was not built with detailed profiling tells names alone: their nodes and
    precisions are unknown then.

    Args:
        inspected: Its JSON, of any version.
    """
    return tuple(_layer(row) for row in inspected.get("Layers", ()))


def precisions(layers: Sequence[Layer]) -> dict[str, float]:
    """The share of layers that run in each precision: those made of nodes of the graph alone."""
    counts = Counter(layer.precision for layer in layers if layer.nodes)
    whole = sum(counts.values())
    return {name: count / whole for name, count in sorted(counts.items())}


def attribute(
    layers: Sequence[Layer],
    times: Mapping[str, Sequence[float]],
    seconds: float,
    owner: Callable[[str], str | None],
    weight: Callable[[str], float] = lambda node: 1.0,
) -> Attribution:
    """Shares an engine's time out to whoever owns the nodes that its layers were made of.

    A fused layer is shared out in proportion to the weights of its nodes. One that TensorRT put
    there belongs to whoever reads what it writes, else to whoever wrote what it reads.

    Args:
        layers: Of the engine.
        times: Milliseconds of each layer, by name, in each of some runs.
        seconds: What the engine takes.
        owner: Of a node, by its name; None: nobody.
        weight: How much work a node is thought to be, e.g. seconds by a roofline model.
    """
    typical = {name: median(runs) for name, runs in times.items() if runs}
    whole_ms = fsum(typical.values())
    scale = seconds / whole_ms if whole_ms else 0.0
    owners = _owners(layers, owner, weight)
    found: dict[str, list[float]] = {}
    lost = [ms for name, ms in typical.items() if not owners.get(name)]
    for name, shares in owners.items():
        for who, share in shares.items():
            found.setdefault(who, []).append(typical.get(name, 0.0) * share)
    return Attribution(
        {who: scale * fsum(parts) for who, parts in found.items()},
        scale * fsum(lost),
        tuple(name for name, shares in owners.items() if len(shares) > 1),
        whole_ms / 1000 / seconds if seconds else 0.0,
    )


@dataclass(slots=True)
class _Edges:
    """Who reads and who writes each tensor, of layers that were made of nodes."""

    reads: dict[str, dict[str, float]] = field(default_factory=dict)
    writes: dict[str, dict[str, float]] = field(default_factory=dict)


def _owners(
    layers: Sequence[Layer],
    owner: Callable[[str], str | None],
    weight: Callable[[str], float],
) -> dict[str, dict[str, float]]:
    """The shares of each layer's owners, by the layer's name; they add up to 1, or are none."""
    found = {layer.name: _shares(layer.nodes, owner, weight) for layer in layers}
    edges = _Edges()
    for layer in layers:
        if found[layer.name]:
            edges.reads |= dict.fromkeys(layer.inputs, found[layer.name])
            edges.writes |= dict.fromkeys(layer.outputs, found[layer.name])
    # Chains of changes of format are followed from their ends, at most all the way.
    for _ in layers:
        before = len(edges.reads) + len(edges.writes)
        for layer in layers:
            if not found[layer.name]:
                found[layer.name] = _adopted(layer, edges)
        if len(edges.reads) + len(edges.writes) == before:
            break
    return found


def _adopted(layer: Layer, edges: _Edges) -> dict[str, float]:
    """Whose a layer is that was made of nothing: its reader's, else its writer's."""
    for names, known in ((layer.outputs, edges.reads), (layer.inputs, edges.writes)):
        for name in names:
            if name in known:
                edges.reads |= dict.fromkeys(layer.inputs, known[name])
                edges.writes |= dict.fromkeys(layer.outputs, known[name])
                return known[name]
    return {}


def _shares(
    nodes: Sequence[str], owner: Callable[[str], str | None], weight: Callable[[str], float]
) -> dict[str, float]:
    weights: dict[str, list[float]] = {}
    for node in nodes:
        who = owner(node)
        if who is not None:
            weights.setdefault(who, []).append(weight(node))
    summed = {who: fsum(parts) for who, parts in weights.items()}
    whole = fsum(summed.values())
    if not whole:
        return {who: 1 / len(summed) for who in summed}
    return {who: part / whole for who, part in summed.items()}


def _layer(row: Any) -> Layer:
    if not isinstance(row, Mapping):
        return Layer(str(row), UNKNOWN, (), UNKNOWN)
    inputs, outputs = _tensors(row, "Inputs"), _tensors(row, "Outputs")
    nodes = _NODE.findall(str(row.get("Metadata", "")))
    return Layer(
        str(row.get("Name", "")),
        str(row.get("LayerType", UNKNOWN)),
        tuple(dict.fromkeys(nodes)),
        _precision([*inputs, *outputs]),
        tuple(str(one.get("Name", "")) for one in inputs),
        tuple(str(one.get("Name", "")) for one in outputs),
    )


def _tensors(row: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [one for one in row.get(key, ()) if isinstance(one, Mapping)]


def _precision(tensors: Sequence[Mapping[str, Any]]) -> str:
    """Of the first tensor; 8.6 and 10 tell format and type in one text, 11 in two."""
    for one in tensors[:1]:
        text = str(one.get("DataType") or one.get("Format/Datatype") or "")
        for name, pattern in _TYPES:
            if pattern.search(text):
                return name
    return UNKNOWN
