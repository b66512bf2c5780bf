"""The zoo: pretrained networks by name, each with what it needs to be loaded, fed and compared."""

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from compiler import models as _models  # noqa: F401 - importing it registers them with timm
from compiler.demo_zoo import DEMO_DONORS, DemoDonor
from compiler.fetch import fetch_demo
from compiler.hub import fetch_pretrained
from compiler.preprocessing import Preprocessing
from compiler.progress import Progress
from compiler.weights import SUFFIXES, check_fit, load_strictly, read_weights
from compiler.zoo_metadata import Description, Options, describe
from targets.errors import UnknownNameError, UsageError, ZooError

_RANDOM_SEED = 0
_USAGE = (
    "Give a folder of .safetensors files, ARCH=FILE, timm:NAME, random:ARCH, 'demo' or the name of "
    "a demo donor; several with commas between them."
)


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A pretrained network: how to make it, where its weights are, how to show it a picture.

    Attributes:
        name: As in timm, architecture and tag: "tf_efficientnet_lite0.in1k".
        architecture: timm's name of it, "tf_efficientnet_lite0".
        source: Where the weights come from, in words.
        licence: Of the weights; "unknown" where nothing says it.
        weights_path: The file; None for random weights, the same on every call of `load`.
        options: Further keyword arguments of timm.create_model.
        preprocessing: Resolution, crop and normalization it was evaluated with.
        params: Number of parameters.
        macs: Multiply-accumulates of convolutions and linear layers for one picture, if countable.
        known_top1: Published ImageNet-1k validation accuracy in percent, if known.
        weights_sha256: Over names, dtypes, shapes and values of the tensors (`Weights.digest`);
            empty for random weights.
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

    @property
    def identity(self) -> str:
        """Everything that what it computes depends on, as one text; part of cache keys."""
        parts = (self.name, self.architecture, self.options, self.weights_sha256)
        return repr((*parts, self.preprocessing))

    def load(self) -> nn.Module:
        """The network in eval mode, float32, on the CPU; torch's global random state stays.

        Raises:
            ZooError: the weights are gone, have changed since the zoo was opened, or do not fit.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_RANDOM_SEED)
            module = _create(self.architecture, self.options)
        if self.weights_path is not None:
            weights = read_weights(self.weights_path)
            if weights.digest != self.weights_sha256:
                raise ZooError(
                    f"The weights of '{self.name}' in '{self.weights_path}' have changed since the "
                    "zoo was opened. Start again with the file as it is now."
                )
            load_strictly(module, weights.tensors, self.name)
        return module.float().eval()


@dataclass(frozen=True, slots=True)
class Zoo:
    """The networks a build may take blocks from; names are unique."""

    models: tuple[ZooModel, ...]

    def __len__(self) -> int:
        """How many networks."""
        return len(self.models)

    def __iter__(self) -> Iterator[ZooModel]:
        """The networks, in the order in which they were asked for."""
        return iter(self.models)

    @property
    def names(self) -> tuple[str, ...]:
        """The networks' names, in the same order."""
        return tuple(model.name for model in self.models)

    def find(self, name: str) -> ZooModel:
        """The network of this name, or the only one whose name without the tag it is.

        Raises:
            UnknownNameError: there is none; with the nearest names.
            UsageError: several differ only in their tags.
        """
        untagged = [model for model in self.models if model.name.partition(".")[0] == name]
        matches = [model for model in self.models if model.name == name] or untagged
        if len(matches) > 1:
            both = " and ".join(f"'{model.name}'" for model in matches)
            raise UsageError(f"'{name}' could be {both}. Use the full name.")
        if not matches:
            raise UnknownNameError("donor", name, self.names)
        return matches[0]


def open_zoo(home: Path, zoo: str | Path | None = None, progress: Progress | None = None) -> Zoo:
    """Open a zoo, fetching what is not there yet.

    Args:
        home: The workspace folder; fetched weights are kept in its `zoo`.
        zoo: None or "demo" for the demo donors; a folder of .safetensors files, one network each,
            named ARCH.TAG.safetensors or saying their architecture in their metadata; "ARCH=FILE"
            for one .safetensors or .pth; "timm:NAME" for timm's own pretrained weights;
            "random:ARCH" for untrained ones, where only latency matters; the name of a demo donor,
            or any other pretrained name of timm. Commas combine them.
        progress: Told about whatever has to be fetched.

    Raises:
        ZooError: weights that are damaged, do not fit, or cannot be fetched.
        UsageError: no such folder, file or name.
    """
    models: list[ZooModel] = []
    for token in _tokens(zoo):
        models.extend(_open(token, home, progress))
    return Zoo(_unique(models))


def model_from_file(path: Path, architecture: str | None = None) -> ZooModel:
    """One weight file as a zoo's network; names and shapes are compared, without loading it.

    Args:
        path: A .safetensors, .pth, .pt or .bin file.
        architecture: timm's name; left out, the file's metadata or name say it.

    Raises:
        ZooError: the file is damaged or refused, or does not fit the architecture.
    """
    weights = read_weights(path)
    said = describe(path, weights.metadata)
    said = replace(said, architecture=architecture) if architecture else said
    with torch.device("meta"):
        module = _create(said.architecture, said.options)
    check_fit(module, weights.tensors, str(path))
    model = _model(_name(path, said.architecture), said, module)
    return replace(model, weights_path=path, weights_sha256=weights.digest)


def _tokens(zoo: str | Path | None) -> list[str]:
    """The parts of a zoo's text; a prefix `timm:` or `random:` holds for the names after it."""
    if zoo is None:
        return ["demo"]
    if isinstance(zoo, Path) or _exists(zoo):
        return [str(zoo)]
    tokens: list[str] = []
    prefix = ""
    for part in (part.strip() for part in zoo.split(",")):
        if part.startswith(("timm:", "random:")):
            prefix = part.partition(":")[0] + ":"
        elif prefix and timm.is_model(part.partition(".")[0]):
            part = prefix + part
        else:
            prefix = ""
        tokens.append(part)
    if not all(tokens):
        raise UsageError(f"The zoo '{zoo}' has an empty part. {_USAGE}")
    return tokens


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False  # a list of names may be longer than any path


def _open(token: str, home: Path, progress: Progress | None) -> list[ZooModel]:
    path = Path(token)
    if token == "demo":
        return _demo(home, [donor.name for donor in DEMO_DONORS], progress)
    if _exists(token) and path.is_dir():
        return _folder(path)
    if _exists(token) and path.is_file():
        return [model_from_file(path)]
    kind, separator, rest = token.partition(":")
    if separator and kind in ("timm", "random"):
        return [_random(rest) if kind == "random" else _pretrained(rest, home, progress)]
    architecture, separator, file = token.partition("=")
    if separator:
        return [model_from_file(Path(file), _known(architecture))]
    if token.endswith(tuple(SUFFIXES)) or "/" in token or os.sep in token:
        raise UsageError(f"There is no folder or file '{token}'. {_USAGE}")
    return _named(token, home, progress)


def _demo(home: Path, names: list[str], progress: Progress | None) -> list[ZooModel]:
    paths = fetch_demo(home, progress, only=names)
    donors = [donor for donor in DEMO_DONORS if donor.name in names]
    return [_demo_model(donor, paths[donor.name]) for donor in donors]


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


def _named(name: str, home: Path, progress: Progress | None) -> list[ZooModel]:
    demo = [d.name for d in DEMO_DONORS if name in (d.name, d.architecture)]
    if demo:
        return _demo(home, demo, progress)
    return [_pretrained(name, home, progress)]


def _folder(folder: Path) -> list[ZooModel]:
    files = sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("."))
    if not files:
        raise ZooError(f"No .safetensors files in '{folder}'. {_USAGE}")
    return [model_from_file(path) for path in files]


def _pretrained(name: str, home: Path, progress: Progress | None) -> ZooModel:
    _known(name.partition(".")[0])
    return model_from_file(fetch_pretrained(name, home, progress))


def _random(architecture: str) -> ZooModel:
    said = Description(_known(architecture), source="random weights", licence="none")
    with torch.device("meta"):
        module = _create(said.architecture, said.options)
    return _model(f"{architecture}.random", said, module)


def _model(name: str, said: Description, module: nn.Module) -> ZooModel:
    preprocessing = said.preprocessing or _default_preprocessing(name, module)
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
        weights_sha256="",
    )


def _name(path: Path, architecture: str) -> str:
    stem = path.stem
    own = stem == architecture or stem.startswith(f"{architecture}.")
    return stem if own else f"{architecture}.{stem}"


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
    try:
        with torch.no_grad(), counter:
            module.eval()(torch.empty(1, 3, size, size, device="meta"))
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return None
    counts = counter.get_flop_counts().get("Global", {})
    flops = sum(counts.get(op, 0) for op in (aten.convolution, aten.addmm, aten.mm))
    return int(flops) // 2


def _create(architecture: str, options: Options) -> nn.Module:
    if not timm.is_model(architecture):
        raise ZooError(
            f"timm {timm.__version__} has no architecture '{architecture}'"
            f"{_suggestion(architecture)}. Name the file ARCH.TAG.safetensors, or give ARCH=FILE."
        )
    try:
        arguments: dict[str, Any] = dict(options)
        module = timm.create_model(architecture, pretrained=False, **arguments)
    except (TypeError, ValueError, KeyError, AssertionError, RuntimeError) as error:
        raise ZooError(
            f"timm cannot make '{architecture}' with {dict(options)}: {error}. Correct the options."
        ) from error
    assert isinstance(module, nn.Module)
    return module


def _known(architecture: str) -> str:
    if timm.is_model(architecture):
        return architecture
    known = [*_near(architecture), *(donor.name for donor in DEMO_DONORS), "demo"]
    raise UnknownNameError("zoo or architecture of timm", architecture, set(known))


def _near(architecture: str) -> list[str]:
    return difflib.get_close_matches(architecture, timm.list_models(), n=5, cutoff=0.5)


def _suggestion(architecture: str) -> str:
    near = ", ".join(_near(architecture)[:3])
    return f", but {near}" if near else ""


def _unique(models: list[ZooModel]) -> tuple[ZooModel, ...]:
    """Without repetitions; two different networks of one name are refused."""
    found: dict[str, ZooModel] = {}
    for model in models:
        other = found.setdefault(model.name, model)
        if other.weights_sha256 != model.weights_sha256:
            raise UsageError(
                f"Two networks are called '{model.name}': '{other.weights_path}' and "
                f"'{model.weights_path}'. Rename one file."
            )
    return tuple(found.values())
