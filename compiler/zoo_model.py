"""ZooModel: one network of a zoo, and how it is described by names and shapes alone."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from compiler.architectures import make
from compiler.preprocessing import Preprocessing
from compiler.user_models import code_digest, is_user_code
from compiler.weights import Weights, load_strictly, read_weights
from compiler.zoo_metadata import Description, Options
from targets.errors import UsageError, ZooError


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A pretrained network: how to make it, where its weights are, how to show it a picture.

    Attributes:
        name: Architecture and tag: "tf_efficientnet_lite0.in1k", "torchvision:resnet18.random".
        architecture: timm's name of it, "tf_efficientnet_lite0"; or the text of another source,
            "torchvision:resnet18", "entry:NAME", "module:function".
        source: Where the weights come from, in words.
        licence: Of the weights; "unknown" where nothing says it.
        weights_path: The file; None for random weights and for those that code of the user's
            gives, which are the same on every call of `load`.
        options: Further keyword arguments of whoever makes the architecture.
        preprocessing: Resolution, crop and normalization it was evaluated with.
        params: Number of parameters.
        macs: Multiply-accumulates of convolutions and linear layers for one picture, if countable.
        known_top1: Published ImageNet-1k validation accuracy in percent, if known.
        weights_sha256: Over names, dtypes, shapes and values of the tensors (`Weights.digest`);
            empty for random weights.
        code_sha256: Over the files that define the network, where that is code of the user's.
    """

    name: str
    architecture: str
    source: str
    licence: str
    weights_path: Path | None
    options: Options
    preprocessing: Preprocessing
    params: int
    macs: int | None
    known_top1: float | None
    weights_sha256: str
    code_sha256: str = ""

    @property
    def identity(self) -> str:
        """Everything that what it computes depends on, as one text; part of cache keys."""
        parts = (self.name, self.architecture, self.options, self.weights_sha256)
        code = (self.code_sha256,) if self.code_sha256 else ()
        return repr((*parts, self.preprocessing, *code))

    @property
    def untagged(self) -> str:
        """The name without the tag of its weights: "tf_efficientnet_lite0"."""
        return untagged(self.name)

    def load(self) -> nn.Module:
        """The network in eval mode, float32, on the CPU; torch's global random state stays.

        Raises:
            ZooError: the weights are gone, have changed since the zoo was opened, or do not fit;
                or the user's code makes other ones every time.
        """
        module = make(self.architecture, self.options)
        if self.weights_path is not None:
            weights = read_weights(self.weights_path)
            if weights.digest != self.weights_sha256:
                raise ZooError(
                    f"The weights of '{self.name}' in '{self.weights_path}' have changed since the "
                    "zoo was opened. Start again with the file as it is now."
                )
            load_strictly(module, weights.tensors, self.name)
        elif self.weights_sha256 and own_digest(module) != self.weights_sha256:
            raise ZooError(
                f"'{self.architecture}' made other weights than when the zoo was opened. Let it "
                "make the same on every call: seed what is random (torch is seeded already), "
                "return a new network each time; or give weights as "
                f"{self.architecture}=FILE."
            )
        return module.float().eval()


def untagged(name: str) -> str:
    """A network's name up to the first dot behind its prefix, if it has one."""
    prefix, colon, rest = name.rpartition(":")
    return f"{prefix}{colon}{rest.partition('.')[0]}"


def own_digest(module: nn.Module) -> str:
    """`Weights.digest` of the tensors that a network holds."""
    state = module.state_dict()
    return Weights({k: t for k, t in state.items() if isinstance(t, torch.Tensor)}).digest


def describe_model(name: str, said: Description, module: nn.Module) -> ZooModel:
    """A network of the zoo without a weight file.

    Args:
        name: its name.
        said: what is known of it.
        module: the network, on the meta device where possible; it stays as it is.

    Raises:
        ZooError: it cannot be shown a picture: no square input in three colours.
    """
    preprocessing = said.preprocessing or _default_preprocessing(name, module)
    user = is_user_code(said.architecture)
    return ZooModel(
        name=name,
        architecture=said.architecture,
        source=said.source,
        licence=said.licence,
        weights_path=None,
        options=said.options,
        preprocessing=preprocessing,
        params=sum(parameter.numel() for parameter in module.parameters()),
        macs=_count_macs(module, preprocessing.input_size),
        known_top1=said.known_top1,
        weights_sha256=own_digest(module) if user else "",
        code_sha256=code_digest(said.architecture, module) if user else "",
    )


def _default_preprocessing(name: str, module: nn.Module) -> Preprocessing:
    config: object = getattr(module, "pretrained_cfg", {})
    try:
        return Preprocessing.from_config(config if isinstance(config, dict) else {})
    except UsageError as error:
        raise ZooError(f"The network '{name}' cannot be shown a picture: {error}") from error


def _count_macs(module: nn.Module, size: int) -> int | None:
    """Of convolutions and linear layers; None where the network refuses to run on shapes alone."""
    aten = torch.ops.aten
    counter = FlopCounterMode(display=False)
    shapes = {k: t.to("meta") for k, t in (*module.named_parameters(), *module.named_buffers())}
    picture = torch.empty(1, 3, size, size, device="meta")
    try:
        with torch.no_grad(), counter:
            functional_call(module.eval(), shapes, (picture,))
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return None
    counts = counter.get_flop_counts().get("Global", {})
    flops = sum(counts.get(op, 0) for op in (aten.convolution, aten.addmm, aten.mm))
    return int(flops) // 2
