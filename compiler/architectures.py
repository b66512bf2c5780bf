"""Architectures by name: timm's, torchvision's, and those of the user's own code.

`resnet18` is timm's, `torchvision:resnet18` is torchvision's; `entry:NAME` and `module:function`
call code (`compiler.user_models`).
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import timm
import torch
from torch import nn

from compiler import models as _models  # noqa: F401 - importing it registers them with timm
from compiler import torchvision_models, user_models
from compiler.demo_zoo import DEMO_DONORS
from compiler.zoo_metadata import Options
from targets.errors import UnknownNameError, ZooError

_RANDOM_SEED = 0
_TORCHVISION = torchvision_models.PREFIX
_REFUSALS = (TypeError, ValueError, KeyError, AssertionError, RuntimeError)


def make(architecture: str, options: Options = ()) -> nn.Module:
    """An untrained network, the same on every call; code of the user's gives it its own weights.

    torch's global random state stays as it is.

    Args:
        architecture: as in the module's first lines.
        options: keyword arguments of whoever makes it; code of the user's takes none.

    Raises:
        ZooError: there is no such architecture, or it cannot be made with these options.
        UsageError: no such function of the user's.
    """
    if user_models.is_user_code(architecture):
        with _seeded():
            function = user_models.find(architecture)
        with _seeded():  # importing a module may have used random numbers, the first time
            return user_models.call(architecture, function)
    with _seeded():
        if architecture.startswith(_TORCHVISION):
            return torchvision_models.make(architecture.removeprefix(_TORCHVISION), options)
        return _make_timm(architecture, options)


def outline(architecture: str, options: Options = ()) -> nn.Module:
    """The same network by names and shapes alone, on the meta device, where that is possible.

    Raises:
        ZooError, UsageError: as `make`.
    """
    if user_models.is_user_code(architecture):
        return make(architecture, options)
    try:
        with torch.device("meta"):
            return make(architecture, options)
    except NotImplementedError:  # torchvision's RegNets compute their widths with tensors
        return make(architecture, options).to("meta")


def check_known(architecture: str) -> str:
    """The architecture, if timm has it or torchvision has it under its prefix.

    Raises:
        UnknownNameError: with the nearest of all names that a zoo takes.
    """
    if architecture.startswith(_TORCHVISION):
        name = architecture.removeprefix(_TORCHVISION)
        if name not in torchvision_models.names():
            raise UnknownNameError("network of torchvision", name, torchvision_models.names())
        return architecture
    if timm.is_model(architecture):
        return architecture
    elsewhere = [f"{_TORCHVISION}{name}" for name in _close(architecture, _torchvision_names())]
    elsewhere += [f"{user_models.PREFIX}{name}" for name in user_models.entry_names()]
    demo = [donor.name for donor in DEMO_DONORS]
    known = {*_near(architecture), *elsewhere, *demo, "demo"}
    raise UnknownNameError("zoo or architecture of timm", architecture, known)


def is_known(architecture: str) -> bool:
    """Whether timm, or torchvision under its prefix, has the architecture."""
    if architecture.startswith(_TORCHVISION):
        return architecture.removeprefix(_TORCHVISION) in torchvision_models.names()
    return timm.is_model(architecture)


def _make_timm(architecture: str, options: Options) -> nn.Module:
    if not timm.is_model(architecture):
        raise ZooError(
            f"timm {timm.__version__} has no architecture '{architecture}'"
            f"{_suggestion(architecture)}. Name the file ARCH.TAG.safetensors, or give ARCH=FILE."
        )
    arguments: dict[str, Any] = dict(options)
    try:
        module = timm.create_model(architecture, pretrained=False, **arguments)
    except NotImplementedError:
        raise  # a RuntimeError too: the meta device has no values
    except _REFUSALS as error:
        raise ZooError(
            f"timm cannot make '{architecture}' with {dict(options)}: {error}. Correct the options."
        ) from error
    assert isinstance(module, nn.Module)
    return module


@contextmanager
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        yield


def _near(architecture: str) -> list[str]:
    return _close(architecture, timm.list_models())


def _torchvision_names() -> list[str]:
    return list(torchvision_models.names())


def _close(name: str, names: list[str]) -> list[str]:
    return difflib.get_close_matches(name, names, n=5, cutoff=0.5)


def _suggestion(architecture: str) -> str:
    near = ", ".join(_near(architecture)[:3])
    return f", but {near}" if near else ""
