"""torchvision's networks: by name, with what its weights say of themselves, fetched as it does."""

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import torch
from torch import nn
from torchvision import models

from compiler.preprocessing import Preprocessing
from compiler.progress import Progress, Silent
from compiler.reach import download, first_line, refusal
from compiler.weights import Weights, read_weights, save_weights
from compiler.zoo_metadata import Description, Option, Options
from targets.errors import UnknownNameError, ZooError

PREFIX = "torchvision:"

_LICENCE = "BSD-3-Clause (torchvision)"
_DATA = "ImageNet-1K"
# torchvision's file names end in the first digits of the file's SHA-256.
_HASH = re.compile(r"-([0-9a-f]{8,})\.")
_DEFAULT_IMAGE_SIZE = 224
# These two have further heads that only training uses, and are made otherwise where they are to
# take torchvision's weights: they normalize their input once more.
_WITHOUT_TRAINING_HEADS: Mapping[str, Option] = {
    "aux_logits": False,
    "init_weights": False,
    "transform_input": True,
}
_SPECIAL = {"googlenet": _WITHOUT_TRAINING_HEADS, "inception_v3": _WITHOUT_TRAINING_HEADS}


def names() -> tuple[str, ...]:
    """The networks of torchvision that classify pictures, in alphabetical order."""
    return tuple(sorted(models.list_models(module=models)))


def make(name: str, options: Options = ()) -> nn.Module:
    """An untrained network.

    Args:
        name: torchvision's, without the prefix.
        options: keyword arguments of its builder.

    Raises:
        UnknownNameError: torchvision has none of that name.
        ZooError: its builder refuses the options.
    """
    _check(name)
    arguments = {**_SPECIAL.get(name, {}), **dict(options)}
    try:
        module = models.get_model(name, weights=None, **arguments)
    except (TypeError, ValueError) as error:
        raise ZooError(
            f"torchvision cannot make '{name}' with {dict(options)}: {error}. Correct the options."
        ) from error
    return cast(nn.Module, module)


def split(text: str) -> tuple[str, str | None]:
    """`resnet18.IMAGENET1K_V1` as name and weights; None where no weights are named."""
    name, _, tag = text.partition(".")
    return name, tag or None


def describe_architecture(name: str) -> Description:
    """A network without weights: it is made and shown pictures as its default weights want it."""
    _check(name)
    architecture = f"{PREFIX}{name}"
    if not len(models.get_model_weights(name)):
        return Description(architecture, Preprocessing(_DEFAULT_IMAGE_SIZE))
    said = describe(name)
    return Description(architecture, said.preprocessing, said.options)


def describe(name: str, tag: str | None = None) -> Description:
    """What torchvision says of some weights of a network.

    Args:
        name: torchvision's, without the prefix.
        tag: of the weights: `IMAGENET1K_V1`, `DEFAULT`; None: the default ones.

    Raises:
        UnknownNameError: torchvision has no such network, or no such weights of it.
        ZooError: it has no weights at all for the network.
    """
    weights = _weights(name, tag)
    top1 = float(weights.meta.get("_metrics", {}).get(_DATA, {}).get("acc@1", math.nan))
    return Description(
        architecture=f"{PREFIX}{name}",
        preprocessing=_preprocessing(weights.transforms()),
        options=_options(name, weights.meta),
        licence=weights.meta.get("license") or _LICENCE,
        source=f"torchvision {type(weights).__name__}.{weights.name}",
        known_top1=None if math.isnan(top1) else top1,
    )


def recognized(name: str, path: Path) -> str | None:
    """The tag of the weights that a file holds, by its SHA-256; None where it is none of them."""
    _check(name)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    for weights in models.get_model_weights(name):
        if found.startswith(_sha256(weights.url)):
            return str(weights.name)
    return None


def fetch(name: str, tag: str | None, home: Path, progress: Progress | None = None) -> Path:
    """Weights of torchvision as `home`/zoo/torchvision_NAME.TAG.safetensors.

    The original file is kept where torchvision itself keeps it, and not fetched where it is there.

    Raises:
        UnknownNameError, ZooError: as `describe`; or its host cannot be reached.
        WorkspaceError: the folder cannot be written.
    """
    description = describe(name, tag)
    weights = _weights(name, tag)
    path = home / "zoo" / f"torchvision_{name}.{weights.name}.safetensors"
    if not path.is_file():
        tensors = read_weights(_original(name, weights, progress or Silent())).tensors
        save_weights(path, Weights(tensors, description.to_metadata()))
    return path


def _check(name: str) -> None:
    if name not in names():
        raise UnknownNameError("network of torchvision", name, names())


def _weights(name: str, tag: str | None) -> Any:
    _check(name)
    known = models.get_model_weights(name)
    if not len(known):
        raise ZooError(
            f"torchvision has the network '{name}' but no weights for it. Give your own as "
            f"{PREFIX}{name}=FILE, or use random:{PREFIX}{name} where only latency matters."
        )
    if tag is not None and tag not in known.__members__:
        raise UnknownNameError(f"weights of torchvision's {name}", tag, known.__members__)
    return known[tag or "DEFAULT"]


def _original(name: str, weights: Any, progress: Progress) -> Path:
    url = str(weights.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    if path.is_file():
        return path
    reason = refusal(url)
    if reason is None:
        try:
            download(url, path, _sha256(url), progress)
        except OSError as error:
            reason = first_line(error)
    if reason is not None:
        text = f"{PREFIX}{name}.{weights.name}"
        raise ZooError(
            f"Cannot fetch the weights '{text}': {reason}. Check the network (a proxy is named in "
            f"HTTPS_PROXY); or fetch {url} elsewhere and give it as {text}=FILE; or use "
            f"random:{PREFIX}{name} where only latency matters."
        )
    return path


def _sha256(url: str) -> str:
    """The first digits, from the file's name."""
    found = _HASH.search(url)
    assert found is not None, url
    return found.group(1)


def _options(name: str, meta: Mapping[str, Any]) -> Options:
    """What torchvision's builder changes by itself when it is given the weights."""
    size = int(meta["min_size"][0])
    if name.startswith("vit_") and size != _DEFAULT_IMAGE_SIZE:
        return (("image_size", size),)
    return ()


def _preprocessing(transforms: Any) -> Preprocessing:
    side, short = int(transforms.crop_size[0]), int(transforms.resize_size[0])
    share = side / short
    if math.floor(side / share) < short:
        share = math.nextafter(share, 0)
    return Preprocessing(
        side,
        share,
        transforms.interpolation.value,
        tuple(transforms.mean),
        tuple(transforms.std),
    )
