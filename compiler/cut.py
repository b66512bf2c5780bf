"""Cut: a legal boundary of a network, and the tensor that alone crosses it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isqrt

import torch
from torch import fx, nn

from backends.model import TensorSpec
from compiler.liveness import size_expression

_MOST_PREFIX_TOKENS = 16
_FAR = 64
_CHANNELS_FIRST = (torch.ops.aten.conv2d.default,)
_CHANNELS_LAST = (torch.ops.aten.layer_norm.default, torch.ops.aten.linear.default)


@dataclass(frozen=True, slots=True)
class Cut:
    """A legal boundary: the tensor that alone crosses it.

    Attributes:
        name: the module that ends here, in the donor's own naming (`blocks.4.2`).
        position: index of the last graph node before the cut.
        tensor: what crosses, for batch 1.
        stride: input pixels per grid step of that tensor; 0 where it has no grid.
        depth: share of the donor's nodes that lie before the cut, 0 to 1.
        prefix_tokens: class and register tokens before those of the grid (layout NLC).
    """

    name: str
    position: int
    tensor: TensorSpec
    stride: int
    depth: float
    prefix_tokens: int = 0

    @property
    def channels(self) -> int:
        """Channels of the tensor that crosses; 0 where none of its dimensions is known as such."""
        where = self.tensor.layout.find("C")
        return self.tensor.shape[where] if where >= 0 else 0

    @property
    def grid(self) -> tuple[int, ...]:
        """Height and width of the tensor that crosses, empty where it is not NCHW."""
        return self.token_grid if self.tensor.layout == "NCHW" else ()

    @property
    def token_grid(self) -> tuple[int, ...]:
        """Height and width of the grid that the tensor lays over the image, in any layout.

        Empty where there is none: pooled features, logits, layouts that are not known.
        """
        return _grid(self.tensor, self.prefix_tokens)


def tensor_spec(name: str, node: fx.Node, batch: fx.Node) -> TensorSpec | None:
    """What `node` computes, for batch 1; None where it is no floating-point tensor."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return None
    symbol = size_expression(batch.meta["val"].shape[0])
    shape = tuple(int(size_expression(size).subs(symbol, 1)) for size in value.shape)
    return TensorSpec(name, shape, str(value.dtype).removeprefix("torch."), _layout(shape, node))


def prefix_tokens(spec: TensorSpec, own: int | None) -> int:
    """Tokens before the grid's in an NLC tensor.

    Args:
        spec: the tensor.
        own: what the network says of itself (timm's `num_prefix_tokens`); None: nothing. It holds
            where the rest is a square: class tokens may join later, as in CaiT.
    """
    if spec.layout != "NLC" or spec.shape[0] != 1:
        return 0
    length = spec.shape[1]
    if own is not None and length > own and _is_square(length - own):
        return own
    rest = length - isqrt(length) ** 2
    return rest if rest <= _MOST_PREFIX_TOKENS else 0


def stride_of(input_size: int, spec: TensorSpec, prefix: int) -> int:
    """Input pixels per grid step; 0 where the tensor has no grid."""
    grid = _grid(spec, prefix)
    return max(1, round(input_size / grid[0])) if grid else 0


def _grid(spec: TensorSpec, prefix: int) -> tuple[int, ...]:
    shape, layout = spec.shape, spec.layout
    if shape[0] != 1:
        return ()  # windows: each lays a grid over a part of the image
    if layout == "NCHW":
        return shape[2:]
    if layout == "NHWC":
        return shape[1:3]
    tokens = shape[1] - prefix if layout == "NLC" else 0
    return (isqrt(tokens), isqrt(tokens)) if tokens and _is_square(tokens) else ()


def _layout(shape: tuple[int, ...], node: fx.Node) -> str:
    """Inputs are square, and so is every grid: equal sides tell where the channels are."""
    if len(shape) == 4:
        first, last = shape[2] == shape[3], shape[1] == shape[2]
        if first and last:
            return "NHWC" if _is_channels_last(node) else "NCHW"
        return "NCHW" if first else "NHWC" if last else "?" * 4
    return {2: "NC", 3: "NLC"}.get(len(shape), "?" * len(shape))


def _is_channels_last(node: fx.Node) -> bool:
    """What the nearest operator that cares says, behind the node or else before it."""
    behind = _channels_last(list(node.users), lambda near: near.users)
    before = _channels_last([node], lambda near: near.all_input_nodes) if behind is None else None
    return bool(behind or before)


def _channels_last(
    queue: list[fx.Node], near: Callable[[fx.Node], Iterable[fx.Node]]
) -> bool | None:
    """Whether an operator takes or makes the last dimension as channels; None: none says it."""
    for i in range(_FAR):
        if i == len(queue):
            break
        target = queue[i].target
        if target in _CHANNELS_FIRST or _is_batch_norm(queue[i]):
            return False
        if target in _CHANNELS_LAST:
            return True
        if target is not torch.ops.aten.permute.default:
            queue.extend(node for node in near(queue[i]) if node not in queue)
    return None


def _is_batch_norm(node: fx.Node) -> bool:
    owner = node.graph.owning_module
    if node.op != "call_module" or owner is None:
        return False
    return isinstance(owner.get_submodule(str(node.target)), nn.BatchNorm2d)


def _is_square(number: int) -> bool:
    return isqrt(number) ** 2 == number
