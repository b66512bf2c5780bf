"""Networks of the user's own code: an entry point, or a function of a module; called by name."""

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from compiler.preprocessing import Preprocessing
from compiler.zoo_metadata import Description
from targets.errors import UnknownNameError, UsageError, ZooError

PREFIX = "entry:"
GROUP = "derycc.models"
"""The group of entry points in which packages offer functions that make networks."""

_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
# What other sources are called: modules of these names are reached by an entry point.
_TAKEN = ("timm", "torchvision", "random")
_DEFAULT_SIZE = 224
_CONTRACT = "It must be a function that takes no arguments and returns a torch.nn.Module."
# What code that is not ours may raise; a process that is told to end still ends.
_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def is_user_code(architecture: str) -> bool:
    """Whether a text names code to be called: `entry:NAME` or `module:function`."""
    if architecture.startswith(PREFIX):
        return True
    module, _, _ = architecture.partition(":")
    return module not in _TAKEN and _FUNCTION.fullmatch(architecture) is not None


def entry_names() -> tuple[str, ...]:
    """The networks that installed packages offer, in alphabetical order."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def find(architecture: str) -> Callable[[], object]:
    """The function behind a text; its module is imported.

    The current folder is searched for modules as well, behind everything that is installed.

    Args:
        architecture: `entry:NAME`, or `module:function`, both Python's own names.

    Raises:
        UsageError: there is no such entry point, module or function.
        ZooError: it cannot be imported.
    """
    with _current_folder():
        return _function(architecture)


def call(architecture: str, function: Callable[[], object]) -> nn.Module:
    """Call a function that `find` found; its network in eval mode, float32, on the CPU.

    Raises:
        ZooError: it raises, or returns something else than a network with its weights.
    """
    with _current_folder():
        try:
            made = function()
        except _FAULTS as error:
            _blame(architecture, "raised", error)
    if not isinstance(made, nn.Module):
        raise ZooError(f"'{architecture}' returned a {type(made).__name__}. {_CONTRACT}")
    unmade = [name for name, tensor in made.named_parameters() if tensor.is_meta or is_lazy(tensor)]
    if unmade:
        raise ZooError(
            f"The network of '{architecture}' has parameters without values: {unmade[0]}. Let its "
            "function run the network once, or make it on the CPU."
        )
    return made.cpu().float().eval()


def describe(architecture: str, module: nn.Module) -> Description:
    """What is known of a network of the user's own code.

    Its preprocessing is what the network's attribute `preprocessing` or `pretrained_cfg` says under
    timm's names (`input_size` may be one number); else that of most ImageNet networks at 224 px.

    Raises:
        ZooError: it says what no picture can be prepared with.
    """
    config = _config(module)
    try:
        preprocessing = Preprocessing.from_config(config)
    except (UsageError, TypeError, ValueError) as error:
        raise ZooError(
            f"The preprocessing of '{architecture}' cannot be used: {error} Correct its attribute "
            "`preprocessing`."
        ) from error
    licence = config.get("license") or config.get("licence")
    return Description(
        architecture=architecture,
        preprocessing=preprocessing,
        licence=str(licence or "unknown"),
        source=_source(architecture),
    )


def code_digest(architecture: str, module: nn.Module) -> str:
    """SHA-256 (hex) over the files with the function and the network's classes, but torch's own.

    Weights alone do not tell what a network computes once somebody edits its `forward`.
    """
    owners = {type(part).__module__ for part in module.modules()}
    owners.add(_target(architecture).partition(":")[0])
    total = hashlib.sha256()
    for owner in sorted(owners):
        path = getattr(sys.modules.get(owner), "__file__", None)
        if path is not None and owner.partition(".")[0] != torch.__name__:
            total.update(f"{owner}\0".encode() + Path(path).read_bytes() + b"\0")
    return total.hexdigest()


@contextmanager
def _current_folder() -> Iterator[None]:
    """Modules of the current folder can be imported, where nothing installed has their name."""
    folder = str(Path.cwd())
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.reverse()
        sys.path.remove(folder)  # the last one: it may have been there before
        sys.path.reverse()


def _function(architecture: str) -> Callable[[], object]:
    module, _, name = _target(architecture).partition(":")
    if architecture.startswith(PREFIX):
        found = _loaded(architecture, _entry(architecture.removeprefix(PREFIX)))
    else:
        found = _attribute(_module(architecture, module), name)
    if isinstance(found, nn.Module) or not callable(found):
        kind = "a network itself" if isinstance(found, nn.Module) else f"a {type(found).__name__}"
        raise UsageError(f"'{name}' of '{module}' is {kind}. {_CONTRACT}")
    return found


def _target(architecture: str) -> str:
    """The `module:function` behind a text."""
    if not architecture.startswith(PREFIX):
        return architecture
    return _entry(architecture.removeprefix(PREFIX)).value


def _entry(name: str) -> EntryPoint:
    found = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if not found:
        raise UnknownNameError(f"entry point of the group {GROUP}", name, entry_names())
    if len(found) > 1:
        both = " and ".join(f"'{value}'" for value in found)
        raise UsageError(
            f"Several packages offer an entry point '{name}': {both}. Give one of these in its "
            "place."
        )
    return next(iter(found.values()))


def _loaded(architecture: str, point: EntryPoint) -> object:
    try:
        return point.load()
    except _FAULTS as error:
        _blame(architecture, f"is '{point.value}', which cannot be loaded:", error)


def _module(architecture: str, name: str) -> object:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            _blame(architecture, "cannot be imported:", error)
        raise UsageError(
            f"There is no Python module '{error.name}' for '{architecture}', neither installed nor "
            "in the current folder. Install it, or name its folder in PYTHONPATH; networks of "
            "libraries are timm:NAME, torchvision:NAME, random:ARCH and entry:NAME."
        ) from error
    except _FAULTS as error:
        _blame(architecture, "cannot be imported:", error)


def _attribute(module: object, name: str) -> object:
    try:
        return getattr(module, name)
    except AttributeError as error:
        public = [key for key, value in vars(module).items() if key[0] != "_" and callable(value)]
        owner = getattr(module, "__name__", "")
        raise UnknownNameError(f"function of the module '{owner}'", name, public) from error


def _blame(architecture: str, what: str, error: BaseException) -> NoReturn:
    said = (str(error).splitlines() or [""])[0]
    raise ZooError(
        f"'{architecture}' {what} {type(error).__name__}: {said}. Correct it there, and try it in "
        "Python first."
    ) from error


def _config(module: nn.Module) -> Mapping[str, object]:
    for attribute in ("preprocessing", "pretrained_cfg"):
        said = getattr(module, attribute, None)
        if isinstance(said, Mapping) and said:
            size = said.get("input_size", _DEFAULT_SIZE)
            return {**said, "input_size": (3, size, size) if isinstance(size, int) else size}
    return {"input_size": (3, _DEFAULT_SIZE, _DEFAULT_SIZE)}


def _source(architecture: str) -> str:
    if not architecture.startswith(PREFIX):
        return f"Python function {architecture}"
    point = _entry(architecture.removeprefix(PREFIX))
    package = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"entry point {point.name}{package}"
