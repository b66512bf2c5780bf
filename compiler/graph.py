"""The ATen graph of a network: exported once, with modules put back where modes matter."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram

from compiler.graph_modes import lost_dropouts, marked, restore_modes
from targets.errors import ZooError

# AssertionError: timm's transformers say so that a size is not theirs.
_REFUSALS = (
    RuntimeError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    torch._dynamo.exc.Unsupported,
)
BATCH = "batch"
"""What the free dimension of an exported graph is called."""


def aten_graph(model: nn.Module, input_size: int, name: str = "model") -> fx.GraphModule:
    """Export `model` with `torch.export` as one flat graph that shares the model's parameters.

    Args:
        model: a network in eval mode that takes one (N, 3, S, S) float32 tensor. On the meta device
            it is cut by its shapes alone.
        input_size: S, in pixels. The graph holds for this size alone; the batch N stays free.
        name: what the error message calls the model.

    Returns:
        A graph module whose parameters and buffers are the model's own, under their own names.
        Batch-norm, dropout and stochastic depth are modules again, so that `train()` and `eval()`
        mean what they mean in the donor.

    Raises:
        ZooError: `torch.export` cannot trace the model (the message carries its first line), or
            the graph computes something else.
    """
    program = _exported(model, input_size, name)
    found = _flat(model, program, _avoid_writing_in_place)
    if len(found.graph.output_node().all_input_nodes) != 1:
        raise ZooError(f"{name} does not answer with one tensor. Leave this donor out.")
    if lost := lost_dropouts(found, model):
        raise ZooError(
            f"Cannot cut {name}: the attention weights that {lost[0]} drops in train mode leave no "
            "trace in its graph. Make it with dropout=0, or call it with need_weights=False."
        )
    if not _equal(model, found, input_size, name):
        # A write through a view is lost by now: let torch rewrite such writes instead.
        found = _flat(model, program.run_decompositions({}), lambda module: None)
    if not _equal(model, found, input_size, name):
        raise ZooError(
            f"Cannot cut {name}: its graph computes something else than itself, most likely "
            "because its answer depends on more than its input. Leave this donor out."
        )
    return found


def _exported(model: nn.Module, input_size: int, name: str) -> ExportedProgram:
    device = next((parameter.device for parameter in model.parameters()), None)
    example = torch.zeros(2, 3, input_size, input_size, device=device)
    try:
        with marked(model), warnings.catch_warnings(), _layer_by_layer():
            # Attention that keeps its biases (LeViT) does so again when it is really run.
            warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
            return torch.export.export(model, (example,), dynamic_shapes=(({0: Dim(BATCH)},)))
    except _REFUSALS as error:
        raise ZooError(
            f"Cannot cut {name} at {input_size} px: torch.export refused it "
            f"({_first_line(error)}). Leave this donor out, or choose another input size."
        ) from error


@contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Transformer layers of torch's own are traced as their parts, not as one fused operator."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _flat(
    model: nn.Module, program: ExportedProgram, tidy: Callable[[fx.GraphModule], None]
) -> fx.GraphModule:
    module = program.module()
    assert isinstance(module, fx.GraphModule)
    _drop_guards(module)
    tidy(module)
    restore_modes(module, model)
    module.graph.lint()
    # A plain module: the exported one refuses train().
    return fx.GraphModule(module, module.graph)


@torch.no_grad()
def _equal(model: nn.Module, graph_module: fx.GraphModule, size: int, name: str) -> bool:
    """Whether both answer one random batch alike; taken on trust where there are no values."""
    if any(parameter.is_meta for parameter in model.parameters()):
        return True
    x = torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(0))
    x = x.to(next((parameter.device for parameter in model.parameters()), None))
    try:
        answer, found = model(x), graph_module(x)
    except _REFUSALS as error:
        raise ZooError(
            f"Cannot cut {name} at {size} px: it cannot be run ({_first_line(error)}). Choose "
            "another input size, or leave this donor out."
        ) from error
    if not isinstance(answer, torch.Tensor) or not isinstance(found, torch.Tensor):
        return False
    return torch.allclose(answer, found, rtol=1e-3, atol=1e-4, equal_nan=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _drop_guards(module: fx.GraphModule) -> None:
    for node in module.graph.find_nodes(op="call_module", target="_guards_fn"):
        module.graph.erase_node(node)
    if hasattr(module, "_guards_fn"):
        delattr(module, "_guards_fn")


def _avoid_writing_in_place(module: fx.GraphModule) -> None:
    """`relu_` becomes `relu`: a tensor that crosses a cut must not change behind the cut."""
    for node in module.graph.nodes:
        target = node.target
        if isinstance(target, torch._ops.OpOverload):
            name = target._schema.name.partition("::")[2]
            packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
            if name.endswith("_") and not name.endswith("__") and packet is not None:
                node.target = getattr(packet, target._overloadname)
