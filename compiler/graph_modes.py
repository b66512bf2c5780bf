"""What a network does differently in train mode, put back into its exported graph.

`torch.export` records one mode. A network is recorded in eval mode, with every stochastic module
(dropout, stochastic depth) replaced by a marker that leaves its name in the graph; afterwards
markers, batch-norm operators and attention become modules again.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

_BATCH_NORM = torch.ops.aten.batch_norm.default
_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_DROPOUTS = {
    torch.ops.aten.dropout.default: nn.Dropout,
    torch.ops.aten.dropout_.default: nn.Dropout,
    torch.ops.aten.feature_dropout.default: nn.Dropout2d,
    torch.ops.aten.feature_dropout_.default: nn.Dropout2d,
    torch.ops.aten.alpha_dropout.default: nn.AlphaDropout,
    torch.ops.aten.alpha_dropout_.default: nn.AlphaDropout,
    torch.ops.aten.feature_alpha_dropout.default: nn.FeatureAlphaDropout,
}
_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
# By name: timm, torchvision and others each have their own.
_STOCHASTIC = frozenset({"DropPath", "DropBlock2d", "StochasticDepth"})


@torch.library.custom_op("derycc::stochastic", mutates_args=())
def _stochastic(x: Tensor, path: str) -> Tensor:
    """In a graph: here stood the stochastic module `path`. It changes nothing in eval mode."""
    return x.clone()


@_stochastic.register_fake
def _(x: Tensor, path: str) -> Tensor:
    return torch.empty_like(x)


class DroppingAttention(nn.Module):
    """Scaled dot-product attention that drops weights with probability `p` in train mode."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> Tensor:
        """As the operator; `dropout_p` is that of eval mode."""
        dropout = self.p if self.training else dropout_p
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout, is_causal, scale=scale
        )


@contextmanager
def marked(model: nn.Module) -> Iterator[None]:
    """Within this context stochastic modules leave their names in whatever graph is traced."""
    stochastic = [(path, part) for path, part in model.named_modules() if _is_stochastic(part)]
    try:
        for path, part in stochastic:
            part.forward = _marker(path)
        yield
    finally:
        for _, part in stochastic:
            part.__dict__.pop("forward", None)


def restore_modes(module: fx.GraphModule, model: nn.Module) -> None:
    """Turn the operators of `module` that depend on the mode into modules, taken from `model`."""
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        if node.target is _BATCH_NORM:
            _restore_batch_norm(module, node)
        elif node.target in _DROPOUTS:
            _restore_dropout(module, node)
        elif node.target is torch.ops.derycc.stochastic.default:
            x, path = node.args
            _replace(module, node, str(path), copy.copy(model.get_submodule(str(path))), (x,))
        elif node.target is _ATTENTION:
            _restore_attention(module, node, model)
    module.graph.eliminate_dead_code()


def _is_stochastic(module: nn.Module) -> bool:
    kind = type(module)
    return isinstance(module, nn.modules.dropout._DropoutNd) or kind.__name__ in _STOCHASTIC


def _marker(path: str) -> Callable[[Tensor], Tensor]:
    def mark(x: Tensor) -> Tensor:
        y: Tensor = torch.ops.derycc.stochastic(x, path)
        return y

    return mark


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
    for name, child in module.get_submodule(path).named_children():
        norm.add_module(name, child)  # an activation with parameters of its own
    _replace(module, node, path, norm, (x,))


def _restore_dropout(module: fx.GraphModule, node: fx.Node) -> None:
    """Put a dropout module where a function was called; modules are marked beforehand."""
    x, probability, _ = node.args
    assert isinstance(probability, float)
    kind = _DROPOUTS[node.target]  # type: ignore[index]
    _replace(module, node, f"{node.name}_module", kind(probability), (x,))


def _restore_attention(module: fx.GraphModule, node: fx.Node, model: nn.Module) -> None:
    """Attention is told its dropout by the module around it, in train mode alone."""
    stack = (node.meta.get("nn_module_stack") or {}).values()
    for path, _ in reversed(list(stack)):
        p = _attention_dropout(model.get_submodule(path))
        if p:
            restored = DroppingAttention(float(p))
            _replace(module, node, f"{path}.dropping_attention", restored, node.args, node.kwargs)
            return


def lost_dropouts(module: fx.GraphModule, model: nn.Module) -> list[str]:
    """Attention of torch's own whose dropout acts in train mode and is not in the graph."""
    restored = {
        path.rpartition(".")[0]
        for path, part in module.named_modules()
        if isinstance(part, DroppingAttention)
    }
    return [
        path
        for path, part in model.named_modules()
        if isinstance(part, nn.MultiheadAttention) and part.dropout and path not in restored
    ]


def _attention_dropout(module: nn.Module) -> float:
    """What a module drops of its attention weights: timm's `attn_drop`, torch's `dropout`."""
    if isinstance(module, nn.MultiheadAttention):
        return float(module.dropout)
    dropout = getattr(module, "attn_drop", None)
    p = dropout if isinstance(dropout, float) else getattr(dropout, "p", 0.0)
    return float(p)


def _replace(
    module: fx.GraphModule,
    node: fx.Node,
    path: str,
    by: nn.Module,
    args: tuple[fx.node.Argument, ...],
    kwargs: dict[str, fx.node.Argument] | None = None,
) -> None:
    module.add_submodule(path, by.eval())  # with the modules around it, where they are gone
    with module.graph.inserting_before(node):
        call = module.graph.call_module(path, args=args, kwargs=kwargs)
    call.meta = dict(node.meta)
    node.replace_all_uses_with(call)
    module.graph.erase_node(node)
