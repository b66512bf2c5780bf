"""The zoo: pretrained networks by name, each with what it needs to be loaded, fed and compared."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compiler.architectures import check_known, is_known
from compiler.demo_zoo import DEMO_DONORS
from compiler.preprocessing import Preprocessing
from compiler.progress import Progress
from compiler.user_models import is_user_code
from compiler.weights import SUFFIXES
from compiler.zoo_model import ZooModel
from compiler.zoo_sources import (
    from_code,
    from_demo,
    from_folder,
    from_name,
    from_random,
    from_timm,
    from_torchvision,
    is_torchvision,
    model_from_file,
)
from targets.errors import UnknownNameError, UsageError

__all__ = ["Zoo", "ZooModel", "model_from_file", "open_zoo"]

_USAGE = (
    "Give a folder of .safetensors files, ARCH=FILE, timm:NAME, torchvision:NAME, random:ARCH, "
    "entry:NAME, MODULE:FUNCTION, 'demo' or the name of a demo donor; several with commas between "
    "them."
)
_PREFIX = re.compile(r"random:torchvision:|random:|timm:|torchvision:|entry:")


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

    @property
    def geometry(self) -> Preprocessing:
        """How donors that look at the same photograph have it cropped, whatever their order.

        As the donor of the smallest input does, and of several the one of best published top-1.
        """
        return min(
            self.models,
            key=lambda m: (m.preprocessing.input_size, -(m.known_top1 or 0.0), m.name),
        ).preprocessing

    def find(self, name: str) -> ZooModel:
        """The network of this name, or the only one whose name without the tag it is.

        Raises:
            UnknownNameError: there is none; with the nearest names.
            UsageError: several differ only in their tags.
        """
        untagged = [model for model in self.models if model.untagged == name]
        matches = [model for model in self.models if model.name == name] or untagged
        if len(matches) > 1:
            both = " and ".join(f"'{model.name}'" for model in matches)
            raise UsageError(f"'{name}' could be {both}. Use the full name.")
        if not matches:
            raise UnknownNameError("donor", name, self.names)
        return matches[0]


def open_zoo(home: Path, zoo: str | Path | None = None, progress: Progress | None = None) -> Zoo:
    """Open a zoo, fetching what is not there yet.

    A text may name, with commas between them:

    - `demo`: the demo donors, also meant by None; or one of them by its name.
    - a folder of .safetensors files, one network each, named ARCH.TAG.safetensors or saying their
      architecture in their metadata; or one such file.
    - `ARCH=FILE`: one file, .safetensors or a pickle of tensors (.pth, .pt, .bin, .ckpt, .pth.tar),
      also fine-tuned to another number of classes. ARCH is timm's name, `torchvision:NAME`,
      `torchvision:NAME.WEIGHTS`, `entry:NAME` or `MODULE:FUNCTION`.
    - `timm:NAME`, or NAME alone: timm's pretrained weights, NAME with or without its tag.
    - `torchvision:NAME`, `torchvision:NAME.WEIGHTS`: torchvision's weights, the default or these.
    - `random:ARCH`, `random:torchvision:NAME`: untrained, where only latency and shapes matter.
    - `entry:NAME`: what the entry point NAME of the group derycc.models makes.
    - `MODULE:FUNCTION`: what a function makes, in a module that is installed or in this folder.

    What exists as a file or folder is that. A text with one of the prefixes above is what its
    prefix says: a module that is called timm, torchvision, random or entry is reached by an entry
    point alone. A prefix holds for the bare names after it: `timm:resnet18,resnet34`.

    Args:
        home: The workspace folder; fetched weights are kept in its `zoo`.
        zoo: The text, or the path of a folder or file.
        progress: Told about whatever has to be fetched.

    Raises:
        ZooError: weights that are damaged, do not fit, or cannot be fetched; code that fails.
        UsageError: no such folder, file, name or function.
    """
    models: list[ZooModel] = []
    for token in dict.fromkeys(_tokens(zoo)):
        models.extend(_open(token, home, progress))
    return Zoo(_unique(models))


def _tokens(zoo: str | Path | None) -> list[str]:
    """The parts of a zoo's text, each with the prefix that holds for it."""
    if zoo is None:
        return ["demo"]
    if isinstance(zoo, Path) or _exists(zoo):
        return [str(zoo)]
    tokens: list[str] = []
    prefix = ""
    for part in (part.strip() for part in zoo.split(",")):
        own = _PREFIX.match(part)
        if own:
            prefix = own.group()
        elif prefix and _goes_on(prefix, part):
            part = prefix + part
        else:
            prefix = ""
        tokens.append(part)
    if not all(tokens):
        raise UsageError(f"The zoo '{zoo}' has an empty part. {_USAGE}")
    return tokens


def _goes_on(prefix: str, part: str) -> bool:
    """Whether a bare name is one that the prefix before it can hold for."""
    if prefix == "entry:":
        return False
    return is_known(
        f"{prefix}{part.partition('.')[0]}".removeprefix("random:").removeprefix("timm:")
    )


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False  # a list of names may be longer than any path


def _open(token: str, home: Path, progress: Progress | None) -> list[ZooModel]:
    if token == "demo":
        return from_demo(home, [donor.name for donor in DEMO_DONORS], progress)
    if _exists(token):
        return from_folder(Path(token)) if Path(token).is_dir() else [model_from_file(Path(token))]
    architecture, separator, file = token.partition("=")
    if separator:
        return [_from_file(architecture, Path(file))]
    if ":" in token:
        return [_from_prefixed(token, home, progress)]
    if token.endswith(tuple(SUFFIXES)) or "/" in token or os.sep in token:
        raise _nothing(token)
    return from_name(token, home, progress)


def _from_prefixed(token: str, home: Path, progress: Progress | None) -> ZooModel:
    rest = token.partition(":")[2]
    if token.startswith("random:"):
        return from_random(rest)
    if token.startswith("timm:"):
        return from_timm(rest, home, progress)
    if is_torchvision(token):
        return from_torchvision(rest, home, progress)
    if is_user_code(token):
        return from_code(token)
    raise _nothing(token)


def _nothing(token: str) -> UsageError:
    return UsageError(f"There is no folder or file '{token}'. {_USAGE}")


def _from_file(architecture: str, path: Path) -> ZooModel:
    architecture = architecture.removeprefix("timm:")
    if not is_torchvision(architecture) and not is_user_code(architecture):
        check_known(architecture)
    return model_from_file(path, architecture)


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
