"""The sources of a zoo: each turns the text that names it into networks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from compiler import torchvision_models, user_models
from compiler.architectures import check_known, make, outline
from compiler.checkpoint_names import State
from compiler.class_count import class_count
from compiler.demo_zoo import DEMO_DONORS, DemoDonor
from compiler.fetch import fetch_demo
from compiler.hub import fetch_pretrained
from compiler.progress import Progress
from compiler.weights import Weights, check_fit, read_weights, stem
from compiler.zoo_metadata import Description, describe
from compiler.zoo_model import ZooModel, describe_model
from targets.errors import UsageError, ZooError

_CLASSES = "num_classes"


def from_demo(home: Path, names: Sequence[str], progress: Progress | None) -> list[ZooModel]:
    """The demo donors of these names; fetched by their hashes where they are not there."""
    paths = fetch_demo(home, progress, only=names)
    donors = [donor for donor in DEMO_DONORS if donor.name in names]
    return [_demo_model(donor, paths[donor.name]) for donor in donors]


def from_name(name: str, home: Path, progress: Progress | None) -> list[ZooModel]:
    """A bare name: of a demo donor, else of pretrained weights of timm."""
    demo = [d.name for d in DEMO_DONORS if name in (d.name, d.architecture)]
    if demo:
        return from_demo(home, demo, progress)
    return [from_timm(name, home, progress)]


def from_folder(folder: Path) -> list[ZooModel]:
    """Every .safetensors file of a folder, in the order of their names."""
    files = sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("."))
    if not files:
        raise ZooError(
            f"No .safetensors files in '{folder}'. Put some there, one network each, or give one "
            "file of another kind as ARCH=FILE."
        )
    return [model_from_file(path) for path in files]


def model_from_file(path: Path, architecture: str | None = None) -> ZooModel:
    """One weight file as a zoo's network; names and shapes are compared, without loading it.

    A file whose classifier has another number of rows than the architecture's is a network of that
    many classes; one without a classifier is a network that answers with its features.

    Args:
        path: A .safetensors, .pth, .pt, .bin, .ckpt or .pth.tar file.
        architecture: timm's name; `torchvision:NAME` or `torchvision:NAME.WEIGHTS`; or code of the
            user's (`entry:NAME`, `module:function`). Left out, the file's metadata or name say it,
            but never code.

    Raises:
        ZooError: the file is damaged or refused, or does not fit the architecture.
        UsageError: torchvision has no such network, or there is no such code.
    """
    if architecture is not None and is_torchvision(architecture):
        return _torchvision_file(architecture.removeprefix(torchvision_models.PREFIX), path)
    if architecture is not None and user_models.is_user_code(architecture):
        return _code_file(architecture, path)
    weights = read_weights(path)
    said = describe(path, weights.metadata)
    if architecture is not None:
        said = replace(said, architecture=architecture)
    if user_models.is_user_code(said.architecture):
        raise ZooError(
            f"'{path}' wants the code '{said.architecture}' to be run, which a file may not ask "
            f"for. If you trust it, give it as {said.architecture}={path}."
        )
    return _fitted(path, weights, said)


def from_timm(name: str, home: Path, progress: Progress | None) -> ZooModel:
    """The pretrained weights of timm of this name, with or without their tag."""
    check_known(name.partition(".")[0])
    return model_from_file(fetch_pretrained(name, home, progress))


def from_torchvision(text: str, home: Path, progress: Progress | None) -> ZooModel:
    """Weights of torchvision: `NAME`, or `NAME.WEIGHTS` as in `resnet18.IMAGENET1K_V1`."""
    name, tag = torchvision_models.split(text)
    return model_from_file(torchvision_models.fetch(name, tag, home, progress))


def from_random(architecture: str) -> ZooModel:
    """Untrained weights, the same every time, for timm's and torchvision's architectures.

    Raises:
        UnknownNameError: there is no such architecture.
        UsageError: it is code of the user's.
    """
    if user_models.is_user_code(architecture):
        raise UsageError(
            f"'random:{architecture}' asks for random weights of code, which makes its own. Give "
            f"it as {architecture}."
        )
    said = _completed(Description(check_known(architecture)))
    said = replace(said, source="random weights", licence="none")
    return describe_model(f"{architecture}.random", said, outline(architecture, said.options))


def from_code(architecture: str) -> ZooModel:
    """The network that code of the user's makes, with the weights that it gives."""
    module = make(architecture)
    return describe_model(architecture, user_models.describe(architecture, module), module)


def is_torchvision(architecture: str) -> bool:
    """Whether an architecture is torchvision's."""
    return architecture.startswith(torchvision_models.PREFIX)


def _demo_model(donor: DemoDonor, path: Path) -> ZooModel:
    return ZooModel(
        name=donor.name,
        architecture=donor.architecture,
        source=donor.source,
        licence=donor.licence,
        weights_path=path,
        options=(),
        preprocessing=donor.preprocessing,
        params=donor.params,
        macs=donor.macs,
        known_top1=donor.known_top1,
        weights_sha256=donor.weights_sha256,
    )


def _torchvision_file(text: str, path: Path) -> ZooModel:
    """A file for torchvision's network `NAME`, shown pictures as its default weights or `.WEIGHTS`.

    A file that is torchvision's own, by its hash, has its licence and published quality as well.
    """
    name, tag = torchvision_models.split(text)
    architecture = f"{torchvision_models.PREFIX}{name}"
    own = torchvision_models.recognized(name, path)
    weights = read_weights(path)
    if own is not None and tag in (None, own):
        return _fitted(path, weights, torchvision_models.describe(name, own))
    said = replace(describe(path, weights.metadata), architecture=architecture)
    if tag is not None:
        asked = torchvision_models.describe(name, tag)
        said = replace(said, preprocessing=asked.preprocessing, options=asked.options)
    return _fitted(path, weights, said)


def _code_file(architecture: str, path: Path) -> ZooModel:
    """The network that code of the user's makes, with the weights of a file."""
    weights = read_weights(path)
    said = user_models.describe(architecture, make(architecture))
    return _fitted(path, weights, replace(said, source=f"{said.source}: {path}"))


def _fitted(path: Path, weights: Weights, said: Description) -> ZooModel:
    said, module = _with_its_classes(_completed(said), weights.tensors)
    check_fit(module, weights.tensors, str(path))
    model = describe_model(_name(path, said.architecture), said, module)
    return replace(model, weights_path=path, weights_sha256=weights.digest)


def _completed(said: Description) -> Description:
    """What torchvision says of an architecture, where nobody said it yet."""
    if said.preprocessing is not None or not is_torchvision(said.architecture):
        return said
    default = torchvision_models.describe_architecture(
        said.architecture.removeprefix(torchvision_models.PREFIX)
    )
    options = said.options or default.options
    return replace(said, preprocessing=default.preprocessing, options=options)


def _with_its_classes(said: Description, tensors: State) -> tuple[Description, nn.Module]:
    """The description and network with as many classes as the file has."""
    module = outline(said.architecture, said.options)
    if user_models.is_user_code(said.architecture) or _CLASSES in dict(said.options):
        return said, module
    count = class_count(tensors, module)
    if count is None:
        return said, module
    said = replace(said, options=(*said.options, (_CLASSES, count)))
    return said, outline(said.architecture, said.options)


def _name(path: Path, architecture: str) -> str:
    """The architecture with the file's name for a tag; files are named so already by us."""
    own, flat = stem(path), architecture.replace(":", "_")
    if own == flat or own.startswith(f"{flat}."):
        return architecture + own.removeprefix(flat)
    return f"{architecture}.{own}"
