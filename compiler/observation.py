"""Observation: a network is run and watched from outside, and stays bit for bit what it was.

Nothing is hooked into modules: what a run uses is seen by modes of PyTorch that end with their
context, errors included. So a torch module and its exported graph, whose activations are plain
operators, look the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from targets.errors import UsageError

_ACTIVATIONS = frozenset(
    {
        "_prelu_kernel",
        "celu",
        "elu",
        "gelu",
        "hardswish",
        "hardtanh",  # ReLU6
        "leaky_relu",
        "mish",
        "relu",
        "rrelu_with_noise",
        "silu",
    }
)
"""Below autograd, where SELU is an ELU. Gates (sigmoid, hard sigmoid) are never negative: none."""

_WEIGHTED = frozenset(
    {
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "linear",
    }
)
_ATTENTION = "multi_head_attention_forward"
_BATCH_NORM = "batch_norm"
_COLUMNS = 1 << 20
"""So many signs are summed at once: float32 counts exactly up to 2 ** 24."""


@contextmanager
def modes(network: nn.Module, batch_statistics: bool) -> Iterator[None]:
    """Within this context `network` is in eval mode; every module's own mode comes back after it.

    Args:
        network: dropout and stochastic depth are off, so that no random number is drawn.
        batch_statistics: batch-norms, and they alone, are in train mode.
    """
    before = [(part, part.training) for part in network.modules()]
    try:
        for part, _ in before:
            part.training = batch_statistics and isinstance(part, _BatchNorm)
        yield
    finally:
        for part, training in before:
            part.training = training


def run(network: nn.Module, x: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
    """The network's answer, computed with copies of its buffers: running statistics stay.

    Args:
        network: takes `x` alone, and answers with one tensor.
        x: (N, 3, S, S); buffers take its floating point type.
        parameters: in place of the network's own, by name.

    Raises:
        UsageError: the network answers with something else.
    """
    buffers = {name: _copy(buffer, x.dtype) for name, buffer in network.named_buffers()}
    answer = functional_call(network, {**(parameters or {}), **buffers}, (x,))
    if not isinstance(answer, Tensor):
        raise UsageError(
            f"The network answers with a {type(answer).__name__}, not with one tensor. Proxies "
            "score classifiers: wrap it in a module that returns its logits."
        )
    return answer


def leaves(
    network: nn.Module, change: Callable[[Tensor], Tensor] = lambda weight: weight
) -> dict[str, Tensor]:
    """The parameters by name, changed, as tensors that gradients are computed for.

    The network's parameters themselves get no gradient, whether they ask for one or not.
    """
    return {
        name: change(parameter.detach()).requires_grad_()
        for name, parameter in network.named_parameters()
    }


class ActivationCodes(TorchDispatchMode):
    """Counts how many activations two images switch alike, over all activations of one run.

    An activation is the output of ReLU, ReLU6, leaky ReLU, RReLU, PReLU, ELU, CELU, SELU, GELU,
    SiLU, Hardswish or Mish, as a module or as a function; it is on where it is above zero. Tensors
    whose first dimension is no multiple of the number of images do not belong to images (tables of
    positions) and are left out; windows of images lie image by image.
    """

    def __init__(self, images: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch has no types here
        self.kernel = torch.zeros(images, images, dtype=torch.float64)
        """(images, images), exact whole numbers."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs the operator; where it is an activation, its output is counted."""
        output = func(*args, **(kwargs or {}))
        images = len(self.kernel)
        is_activation = _name(func).removesuffix("_") in _ACTIVATIONS
        if is_activation and output.dim() and len(output) % images == 0:
            self.kernel += agreements((output > 0).reshape(images, -1)).cpu()
        return output


class WeightsUsed(TorchFunctionMode):
    """Collects the parameters that convolutions and linear layers are given as weights.

    A weight that is computed first (standardized, a part of a larger one, mixed by experts) counts
    through the parameters of two or more dimensions that it is computed from.
    """

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[int, Tensor] = {}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Each once, in the order of their first use."""
        return tuple(self._found.values())

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs the function after noting its weight."""
        given = kwargs or {}
        if _name(func) in _WEIGHTED:
            self._add(given["weight"] if "weight" in given else args[1])
        elif _name(func) == _ATTENTION:
            # It projects inside, where no mode sees it.
            for value in (*args, *given.values()):
                if isinstance(value, Tensor) and value.is_leaf and value.dim() == 2:
                    self._add(value)
        return func(*args, **given)

    def _add(self, weight: Tensor) -> None:
        for source in _sources(weight):
            if source.requires_grad and source.dim() > 1:
                self._found.setdefault(id(source), source)


class WithoutBatchNorm(TorchFunctionMode):
    """Batch-norm passes its input on, also where weights are standardized by it."""

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs every function but batch-norm."""
        given = kwargs or {}
        if _name(func) == _BATCH_NORM:
            return args[0] if args else given["input"]
        return func(*args, **given)


class DoublePrecision(TorchFunctionMode):
    """Whatever asks for float32 by name gets float64: exported graphs name what they computed in.

    A network runs in float64 with this, where its parameters and its input have that type.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs the function with the other type."""
        given = {name: _doubled(value) for name, value in (kwargs or {}).items()}
        return func(*map(_doubled, args), **given)


def agreements(codes: Tensor) -> Tensor:
    """How many bits two rows have alike: z zᵀ + (1 - z)(1 - z)ᵀ, exact.

    Args:
        codes: (B, d), boolean.

    Returns:
        (B, B), float64.
    """
    total = torch.zeros(len(codes), len(codes), dtype=torch.float64, device=codes.device)
    for part in codes.split(_COLUMNS, dim=1):  # type: ignore[no-untyped-call]
        signs = part.float() * 2 - 1
        total += (signs @ signs.T).double()
    return (total + codes.shape[1]) / 2


def _copy(buffer: Tensor, dtype: torch.dtype) -> Tensor:
    return buffer.to(dtype, copy=True) if buffer.is_floating_point() else buffer.clone()


def _doubled(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


def _name(func: Any) -> str:
    if isinstance(func, torch._ops.OpOverload):
        return str(func._schema.name).removeprefix("aten::")
    return str(getattr(func, "__name__", ""))


def _sources(tensor: Tensor) -> Iterator[Tensor]:
    """The leaves that a tensor was computed from, itself included."""
    if tensor.grad_fn is None:
        yield tensor
        return
    todo, seen = [tensor.grad_fn], {tensor.grad_fn}
    while todo:
        step = todo.pop()
        leaf = getattr(step, "variable", None)
        if isinstance(leaf, Tensor):
            yield leaf
        following = [after for after, _ in step.next_functions if after and after not in seen]
        seen.update(following)
        todo += following
