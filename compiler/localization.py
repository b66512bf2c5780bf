"""Localization: where an engine that differs from its torch network begins to differ.

Every tensor that the torch network computes on one image is compared with the engine's tensor of
the same place. Which that is cannot be told by names: the graph was simplified and folded on its
way. So the network is exported once more, and a value of that graph whose numbers are those of the
torch tensor is its place; the engine's graph, exported the same way, has it under the same name.
What was folded away has no place. Read out together, the places tell the first that differs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.shape_inference import infer_shapes
from torch import Tensor, fx, nn

from backends.backend import Engine
from backends.model import ExportedModel
from compiler.design import DesignedNetwork
from compiler.divergence import Divergence
from compiler.export import INPUT_NAME, OUTPUT_NAME
from compiler.recipe_network import RecipeNetwork
from compiler.units import module_stack
from compiler.verification import Gate, compare

Array = NDArray[np.float32]
Compile = Callable[[ExportedModel], Engine]


@dataclass(frozen=True, slots=True)
class _Probe:
    """One tensor of the torch network, and where it comes from."""

    part: str
    what: str
    module: str
    tensor: Array

    @property
    def place(self) -> str:
        return f"{self.part} {self.module}".rstrip()


def localize(
    network: DesignedNetwork,
    healthy: ExportedModel,
    model: ExportedModel,
    compile_engine: Compile,
    image: Array,
    gate: Gate,
) -> Divergence:
    """Find where an engine begins to differ from its torch network.

    Args:
        network: the torch network, in eval mode.
        healthy: the same network exported anew, in fp32.
        model: what the engine was compiled from.
        compile_engine: compiles as the engine was.
        image: (1, 3, S, S), normalized, on which they differ.
        gate: of the engine's precision; its `drift` is the relative error that is tolerated.
    """
    probes = _probes(network, image)
    values = _known(model)
    found = _places(probes, healthy, compile_engine, image, gate.drift)
    places = {name: index for name, index in found.items() if name in values}
    answers = _read(model, {name: values[name] for name in places}, compile_engine, image)
    if compare(probes[-1].tensor, answers[OUTPUT_NAME], gate=gate).cosine >= gate.cosine:
        return Divergence(vanishes=True, compared=len(places))
    errors = {i: _error(answers[name], probes[i].tensor) for name, i in places.items()}
    errors[len(probes) - 1] = _error(answers[OUTPUT_NAME], probes[-1].tensor)
    return _first(probes, errors, gate.drift)


def _first(probes: Sequence[_Probe], errors: dict[int, float], drift: float) -> Divergence:
    """The first place that differs, with what lies between it and the last before that agrees."""
    last = len(probes) - 1
    found = min((i for i, error in errors.items() if not error <= drift), default=last)
    before = max((i for i in errors if i < found), default=-1)
    between = dict.fromkeys(probe.part for probe in probes[before + 1 : found])
    seen = {probes[i].part for i in errors if i <= found}
    error = errors[found]
    return Divergence(
        part=probes[found].part,
        what=probes[found].what,
        module=probes[found].module,
        error=float(error) if np.isfinite(error) else None,
        agrees=probes[before].place if before >= 0 else "",
        unseen=tuple(part for part in between if part not in seen),
        compared=len(errors),
    )


def _places(
    probes: Sequence[_Probe],
    model: ExportedModel,
    compile_engine: Compile,
    image: Array,
    most: float,
) -> dict[str, int]:
    """Values of a graph that is as it should be, and the probes whose numbers they have."""
    shapes = {probe.tensor.shape for probe in probes}
    names = {name: shape for name, shape in _known(model).items() if shape in shapes}
    values = _read(model, names, compile_engine, image)
    found: dict[str, int] = {}
    for index, probe in enumerate(probes):
        alike = [
            (_error(values[name], probe.tensor), name)
            for name in names
            if name not in found and values[name].shape == probe.tensor.shape
        ]
        error, name = min(alike, default=(np.inf, ""))
        if error <= most:
            found[name] = index
    return found


def _error(found: Array, expected: Array) -> float:
    """Euclidean distance over the length of what is expected; NaN counts as infinite."""
    length = float(np.linalg.norm(expected)) or float(np.finfo(np.float32).tiny)
    error = float(np.linalg.norm(found.astype(float) - expected)) / length
    return error if np.isfinite(error) else float("inf")


def _known(model: ExportedModel) -> dict[str, tuple[int, ...]]:
    """Float values that nodes of a graph write, with their static shapes."""
    graph = infer_shapes(onnx.ModelProto.FromString(model.onnx)).graph
    written = {name for node in graph.node for name in node.output}
    found = {}
    for value in graph.value_info:
        kind = value.type.tensor_type
        dims = kind.shape.dim
        known = all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in dims)
        if value.name in written and kind.elem_type == onnx.TensorProto.FLOAT and known:
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found


def _read(
    model: ExportedModel,
    shapes: Mapping[str, tuple[int, ...]],
    compile_engine: Compile,
    image: Array,
) -> dict[str, Array]:
    """What an engine computes on its way, the values of these names and shapes, and its answer."""
    proto = onnx.ModelProto.FromString(model.onnx)
    for name, shape in shapes.items():
        proto.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        )
    marked = ExportedModel.from_bytes(proto.SerializeToString(), name=model.name)
    with compile_engine(marked) as engine:
        return {name: np.asarray(array) for name, array in engine.run({INPUT_NAME: image}).items()}


# --- the torch network's own tensors -----------------------------------------------------------


def _probes(network: DesignedNetwork, image: Array) -> list[_Probe]:
    """Every tensor that the network computes on an image, in order; the logits are the last."""
    parts = list(_parts(network))
    arriving: list[Tensor] = []
    hooks = [
        part.register_forward_pre_hook(lambda _, inputs: arriving.append(inputs[0]))
        for _, _, part in parts
    ]
    try:
        with torch.no_grad():
            network(torch.from_numpy(image))
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        return [
            probe
            for (name, what, part), x in zip(parts, arriving, strict=True)
            for probe in _inside(name, what, part, x)
        ]


def _parts(network: DesignedNetwork) -> Iterator[tuple[str, str, nn.Module]]:
    """Stem, segments, stitches and head in the order in which they compute, with their words."""
    made = (
        network.recipe.segments
        if isinstance(network, RecipeNetwork)
        else network.blueprint.segments
    )
    ends = (network.stem, network.head) if isinstance(network, RecipeNetwork) else ()
    stem, head = ends or (nn.Identity(), nn.Identity())
    if not isinstance(stem, nn.Identity):
        yield "stem", "the new stem", stem
    for i, (said, segment) in enumerate(zip(made, network.segments, strict=True)):
        yield f"segment {i + 1}", str(said), segment
        if i < len(network.stitches):
            stitch = network.stitches[i]
            yield f"stitch {i + 1}", str(getattr(stitch, "shape", "a stitch")), stitch
    if not isinstance(head, nn.Identity):
        yield "head", "the new head", head


def _inside(name: str, what: str, part: nn.Module, x: Tensor) -> list[_Probe]:
    """The tensors inside one part, ending with what comes out of it."""
    found: list[_Probe] = []

    def keep(module: str, tensor: object) -> None:
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            found.append(_Probe(name, what, module, tensor.detach().clone().numpy()))

    if isinstance(part, fx.GraphModule):
        keep("", _Watch(part, keep).run(x))
    else:
        inner = [(path, module) for path, module in part.named_modules() if path]
        hooks = [
            module.register_forward_hook(lambda _, __, y, path=path: keep(path, y))
            for path, module in inner
        ]
        try:
            keep("", part(x))
        finally:
            for hook in hooks:
                hook.remove()
    return _without_twin(found)


def _without_twin(found: list[_Probe]) -> list[_Probe]:
    """The part's own answer is that of its last module: it is kept once, under that name."""
    if len(found) > 1 and np.array_equal(found[-1].tensor, found[-2].tensor, equal_nan=True):
        return [*found[:-2], replace(found[-1], module=found[-2].module)]
    return found


class _Watch(fx.Interpreter):
    """Runs a graph, and shows every tensor that a node computes, with its innermost module."""

    def __init__(self, module: fx.GraphModule, keep: Callable[[str, object], None]) -> None:
        super().__init__(module)
        self._keep = keep

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        if n.op.startswith("call_"):
            stack = [path for path, _ in module_stack(n) if path]
            self._keep(stack[-1] if stack else n.name, value)
        return value
