"""MobileNeXt: the network of sandglass blocks, registered with timm at five widths.

Source: Zhou, Hou, Chen, Feng and Yan, "Rethinking Bottleneck Structure for Efficient Mobile Network
Design", ECCV 2020 (arXiv 2007.02269), with the widths and the four kinds of block of the authors'
released network, so that their checkpoints load.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.classifier import ClassifierHead
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from targets.errors import UsageError

__all__ = ["MobileNeXt", "SandglassBlock", "checkpoint_filter_fn"]

_STEM_CHANNELS = 32
_LAST_CHANNELS = 1280
_FEATURE_STAGES = (1, 2, 4, 7)
"""The last stage at strides 4, 8, 16 and 32."""
_PARALLEL_PREFIX = "module."


@dataclass(frozen=True, slots=True)
class _Stage:
    """A row of the paper's table 2: blocks of one width, the first of which may stride."""

    reduction: int
    channels: int
    blocks: int
    stride: int

    @property
    def keeps_spatial(self) -> bool:
        """Whether the one block of this stage keeps both depthwise convolutions."""
        return self.blocks == 1 and self.stride == 1


_STAGES = (
    _Stage(2, 96, 1, 2),
    _Stage(6, 144, 1, 1),
    _Stage(6, 192, 3, 2),
    _Stage(6, 288, 3, 2),
    _Stage(6, 384, 4, 1),
    _Stage(6, 576, 4, 2),
    _Stage(6, 960, 3, 1),
    _Stage(6, _LAST_CHANNELS, 1, 1),
)


class SandglassBlock(nn.Module):
    """Two pointwise convolutions that narrow and widen, between depthwise ones on many channels.

    There are four types (`kind`); only D may have a shortcut.

    - A (reduction 2): depthwise, reduce, expand, depthwise with the stride.
    - B (stride 1, new width): reduce, expand.
    - C (stride 2): reduce, expand, depthwise with the stride.
    - D (stride 1, same width, or `keep_spatial`): depthwise, reduce, expand, depthwise; with a
      shortcut unless `keep_spatial`.

    Every convolution has a batch-norm behind it. ReLU6 follows the first depthwise convolution and
    the expansion; the reduction and the last convolution are linear.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        reduction: int = 6,
        keep_spatial: bool = False,
        identity_div: int = 1,
    ) -> None:
        """Make a block that maps (N, inputs, H, W) to (N, outputs, H / stride, W / stride).

        Args:
            inputs: channels in.
            outputs: channels out.
            stride: of the last depthwise convolution, 1 or 2.
            reduction: inputs divided by it are the channels of the waist, which has at least
                outputs / 6, rounded to a multiple of 16.
            keep_spatial: type D without a shortcut, even where the width changes.
            identity_div: the shortcut carries the first outputs / identity_div channels alone; the
                paper's identity tensor multiplier is 1 / identity_div.

        Raises:
            UsageError: another stride, or an identity_div below 1.
        """
        super().__init__()
        if stride not in (1, 2) or identity_div < 1:
            raise UsageError(
                f"A sandglass block has stride 1 or 2 and an identity_div of at least 1, not "
                f"stride={stride}, identity_div={identity_div}. Correct the numbers."
            )
        self.kind = _kind(inputs, outputs, stride, reduction, keep_spatial)
        self.conv = _layers(self.kind, inputs, _waist(inputs, outputs, reduction), outputs, stride)
        has_shortcut = self.kind == "D" and not keep_spatial
        self.identity_channels = outputs // identity_div if has_shortcut else 0

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.conv(x)
        if not self.identity_channels:
            return y
        if self.identity_channels == y.shape[1]:
            return x + y
        # Writing into a part of `y` would become a scatter in an exported graph.
        sizes = [self.identity_channels, y.shape[1] - self.identity_channels]
        carried, _ = torch.split(x, sizes, dim=1)
        under, beside = torch.split(y, sizes, dim=1)
        return torch.cat([carried + under, beside], dim=1)


class MobileNeXt(nn.Module):
    """A stem, twenty sandglass blocks in eight stages, and a linear classifier."""

    def __init__(
        self,
        width: float = 1.0,
        identity_div: int = 1,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.2,
    ) -> None:
        """Make a network for images of any size from 32 pixels; 224 in the paper.

        Args:
            width: multiplies every number of channels, rounded to multiples of 8; the last stage
                keeps 1,280 where it would become narrower.
            identity_div: as in `SandglassBlock`, for all blocks.
            num_classes: 0 leaves the classifier out.
            in_chans: channels of the image.
            global_pool: as in timm; "" for none.
            drop_rate: dropout before the classifier.
        """
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        channels = _multiple_of(8, _STEM_CHANNELS * width)
        self.conv_stem = nn.Conv2d(in_chans, channels, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU6(inplace=True)
        self.feature_info = [{"num_chs": channels, "reduction": 2, "module": "act1"}]
        self.blocks = nn.Sequential()
        for stage in _STAGES:
            self.blocks.append(_make_stage(stage, channels, width, identity_div))
            channels = _channels(stage, width)
        self._add_feature_info(width)
        self.num_features = self.head_hidden_size = channels
        self.head = ClassifierHead(channels, num_classes, global_pool, drop_rate)
        self.apply(_init)

    def _add_feature_info(self, width: float) -> None:
        for level, number in enumerate(_FEATURE_STAGES, start=2):
            channels = _channels(_STAGES[number], width)
            info = {"num_chs": channels, "reduction": 2**level, "module": f"blocks.{number}"}
            self.feature_info.append(info)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) to (N, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) to (N, num_features, H / 32, W / 32)."""
        x = self.act1(self.bn1(self.conv_stem(x)))
        y: Tensor = self.blocks(x)
        return y

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, num_features, h, w) to (N, num_classes), or (N, num_features) before the logits."""
        y: Tensor = self.head(x, pre_logits=pre_logits)
        return y

    def get_classifier(self) -> nn.Module:
        """The linear layer behind the pooling; timm's name for it."""
        classifier: nn.Module = self.head.fc
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put an untrained classifier of `num_classes` in place of the one there is."""
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)

    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        """Which parameters train together, from the input on; as timm's optimizers ask."""
        blocks = r"^blocks\.(\d+)" if coarse else r"^blocks\.(\d+)\.(\d+)"
        return {"stem": r"^conv_stem|bn1", "blocks": blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Not supported: the blocks are small; asking for it is refused, as timm does."""
        assert not enable, "gradient checkpointing is not supported"


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Give the tensors of a checkpoint this network's names; those with its names keep them.

    Args:
        state: of the released network (`features.3.conv.0.weight`, `classifier.1.weight`), also as
            saved from parallel training (`module.features...`).
        model: the `MobileNeXt` it is meant for.
    """
    assert isinstance(model, MobileNeXt)
    renamed: dict[str, Tensor] = {}
    owners = _released_names(model)
    for key, tensor in state.items():
        owner, _, leaf = key.removeprefix(_PARALLEL_PREFIX).rpartition(".")
        renamed[f"{owners.get(owner, owner)}.{leaf}"] = tensor
    return renamed


def _released_names(model: MobileNeXt) -> dict[str, str]:
    """This network's name of every layer, by the name it has in the released network."""
    names = {"features.0.0": "conv_stem", "features.0.1": "bn1", "classifier.1": "head.fc"}
    blocks = [
        (path, part) for path, part in model.named_modules() if isinstance(part, SandglassBlock)
    ]
    for number, (path, block) in enumerate(blocks, start=1):
        for index, (layer, _) in enumerate(block.conv.named_children()):
            names[f"features.{number}.conv.{index}"] = f"{path}.conv.{layer}"
    return names


def _kind(inputs: int, outputs: int, stride: int, reduction: int, keep_spatial: bool) -> str:
    if reduction == 2:
        return "A"
    if stride == 2:
        return "C"
    return "D" if inputs == outputs or keep_spatial else "B"


def _waist(inputs: int, outputs: int, reduction: int) -> int:
    waist = inputs // reduction
    if waist < outputs / 6:
        waist = _multiple_of(16, math.ceil(outputs / 6))
    return waist


def _layers(kind: str, inputs: int, waist: int, outputs: int, stride: int) -> nn.Sequential:
    layers: dict[str, nn.Module] = {}
    if kind in "AD":
        layers |= _depthwise("first", inputs, 1)
        layers["act_first"] = nn.ReLU6(inplace=True)
    layers |= _pointwise("reduce", inputs, waist)
    layers |= _pointwise("expand", waist, outputs)
    layers["act_expand"] = nn.ReLU6(inplace=True)
    if kind != "B":
        layers |= _depthwise("last", outputs, stride)
    return nn.Sequential(OrderedDict(layers))


def _depthwise(name: str, channels: int, stride: int) -> dict[str, nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
    return {f"conv_{name}": conv, f"bn_{name}": nn.BatchNorm2d(channels)}


def _pointwise(name: str, inputs: int, outputs: int) -> dict[str, nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 1, bias=False)
    return {f"conv_{name}": conv, f"bn_{name}": nn.BatchNorm2d(outputs)}


def _channels(stage: _Stage, width: float) -> int:
    if stage.channels == _LAST_CHANNELS and width < 1:
        return _LAST_CHANNELS
    return _multiple_of(8, stage.channels * width)


def _multiple_of(divisor: int, channels: float) -> int:
    """The nearest multiple, at least one, that is not more than a tenth below `channels`."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


def _make_stage(stage: _Stage, inputs: int, width: float, identity_div: int) -> nn.Sequential:
    outputs = _channels(stage, width)
    first = SandglassBlock(
        inputs, outputs, stage.stride, stage.reduction, stage.keeps_spatial, identity_div
    )
    others = [
        SandglassBlock(outputs, outputs, 1, stage.reduction, identity_div=identity_div)
        for _ in range(stage.blocks - 1)
    ]
    return nn.Sequential(first, *others)


def _init(module: nn.Module) -> None:
    """As released: convolutions by their outputs' number (He et al. 2015), a small classifier."""
    if isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


default_cfgs = generate_default_cfgs(
    {
        f"mobilenext_{percent}": {
            "classifier": "head.fc",
            "first_conv": "conv_stem",
            "pool_size": (7, 7),
            "paper_ids": "arXiv:2007.02269",
        }
        for percent in ("035", "050", "075", "100", "140")
    }
)


def _create(variant: str, width: float, pretrained: bool, options: dict[str, Any]) -> MobileNeXt:
    return build_model_with_cfg(
        MobileNeXt,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"flatten_sequential": True},
        width=width,
        **options,
    )


@register_model
def mobilenext_035(pretrained: bool = False, **options: Any) -> MobileNeXt:
    """MobileNeXt at 0.35 times the width."""
    return _create("mobilenext_035", 0.35, pretrained, options)


@register_model
def mobilenext_050(pretrained: bool = False, **options: Any) -> MobileNeXt:
    """MobileNeXt at half the width."""
    return _create("mobilenext_050", 0.5, pretrained, options)


@register_model
def mobilenext_075(pretrained: bool = False, **options: Any) -> MobileNeXt:
    """MobileNeXt at three quarters of the width."""
    return _create("mobilenext_075", 0.75, pretrained, options)


@register_model
def mobilenext_100(pretrained: bool = False, **options: Any) -> MobileNeXt:
    """MobileNeXt as in the paper's table 2."""
    return _create("mobilenext_100", 1.0, pretrained, options)


@register_model
def mobilenext_140(pretrained: bool = False, **options: Any) -> MobileNeXt:
    """MobileNeXt at 1.4 times the width."""
    return _create("mobilenext_140", 1.4, pretrained, options)
