"""The ATen graph of a network: exported once, with modules put back where modes matter."""

import torch
from torch import fx, nn
from torch.export import Dim

from targets.errors import ZooError

_BATCH_NORM = torch.ops.aten.batch_norm.default
# AssertionError: timm's transformers say so that a size is not theirs.
_REFUSALS = (RuntimeError, ValueError, TypeError, AssertionError, torch._dynamo.exc.Unsupported)
_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_DROPOUTS = (torch.ops.aten.dropout.default, torch.ops.aten.dropout_.default)


def aten_graph(model: nn.Module, input_size: int, name: str = "model") -> fx.GraphModule:
    """Export `model` with `torch.export` as one flat graph that shares the model's parameters.

    Args:
        model: a network in eval mode that takes one (N, 3, S, S) float32 tensor.
        input_size: S, in pixels. The graph holds for this size alone; the batch N stays free.
        name: what the error message calls the model.

    Returns:
        A graph module whose parameters and buffers are the model's own, under their own names.
        Batch-norm and dropout are modules again, so that `train()` and `eval()` mean what they
        mean in the donor.

    Raises:
        ZooError: `torch.export` cannot trace the model (the message carries its first line), or
            the graph computes something else.
    """
    example = torch.zeros(2, 3, input_size, input_size)
    try:
        program = torch.export.export(model, (example,), dynamic_shapes=(({0: Dim("batch")},)))
        graph_module = program.module()
    except _REFUSALS as error:
        raise ZooError(
            f"Cannot cut {name} at {input_size} px: torch.export refused it "
            f"({_first_line(error)}). Leave this donor out, or choose another input size."
        ) from error
    assert isinstance(graph_module, fx.GraphModule)
    _drop_guards(graph_module)
    _avoid_writing_in_place(graph_module)
    _restore_modules(graph_module)
    graph_module.graph.lint()
    # A plain module: the exported one refuses train().
    plain = fx.GraphModule(graph_module, graph_module.graph)
    _check_equal(model, plain, example.shape, name)
    return plain


@torch.no_grad()
def _check_equal(
    model: nn.Module, graph_module: fx.GraphModule, shape: torch.Size, name: str
) -> None:
    """Compare once: a model that writes through a view has lost that write by now."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if not torch.allclose(model(x), graph_module(x), rtol=1e-3, atol=1e-4, equal_nan=True):
        raise ZooError(
            f"Cannot cut {name}: its graph computes something else than itself, most likely "
            "because it writes into a part of a tensor in place. Leave this donor out."
        )


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


def _restore_modules(module: fx.GraphModule) -> None:
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        if node.target is _BATCH_NORM:
            _restore_batch_norm(module, node)
        elif node.target in _DROPOUTS:
            _restore_dropout(module, node)
    module.graph.eliminate_dead_code()


def _restore_batch_norm(module: fx.GraphModule, node: fx.Node) -> None:
    """Put a batch-norm module that holds the same tensors where the flat operator was."""
    x, weight, bias, mean, var, _, momentum, eps, _ = node.args
    if not all(isinstance(part, fx.Node) and part.op == "get_attr" for part in (mean, var)):
        return
    assert isinstance(mean, fx.Node) and isinstance(var, fx.Node)
    path = str(mean.target).rpartition(".")[0]
    assert isinstance(momentum, float) and isinstance(eps, float)
    running_mean = module.get_buffer(str(mean.target))
    kind = _BATCH_NORMS[node.meta["val"].dim()]
    norm = kind(len(running_mean), eps=eps, momentum=momentum, affine=weight is not None)
    if isinstance(weight, fx.Node) and isinstance(bias, fx.Node):
        norm.weight = module.get_parameter(str(weight.target))
        norm.bias = module.get_parameter(str(bias.target))
    norm.running_mean = running_mean
    norm.running_var = module.get_buffer(str(var.target))
    counter = getattr(module.get_submodule(path), "num_batches_tracked", None)
    if isinstance(counter, torch.Tensor):
        norm.num_batches_tracked = counter
    _replace(module, node, path, norm.eval(), x)


def _restore_dropout(module: fx.GraphModule, node: fx.Node) -> None:
    x, probability, _ = node.args
    assert isinstance(probability, float)
    path = f"{node.name}_module"
    _replace(module, node, path, nn.Dropout(probability).eval(), x)


def _replace(module: fx.GraphModule, node: fx.Node, path: str, by: nn.Module, x: object) -> None:
    module.set_submodule(path, by)
    with module.graph.inserting_before(node):
        call = module.graph.call_module(path, args=(x,))  # type: ignore[arg-type]
    call.meta = dict(node.meta)
    node.replace_all_uses_with(call)
    module.graph.erase_node(node)
