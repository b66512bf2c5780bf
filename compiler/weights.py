"""Weight files: read without running what they contain, told apart, loaded strictly, written."""

import hashlib
import pickle
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from compiler.checkpoint_names import State, in_own_names
from targets.errors import WorkspaceError, ZooError

PICKLES = frozenset({".pth", ".pt", ".bin", ".ckpt", ".pth.tar"})
SUFFIXES = PICKLES | {".safetensors"}
# Where training tools keep the network among other things; averaged weights where there are no
# others.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")
_NAMESPACE = "argparse.Namespace"
_GLOBAL = re.compile(r"GLOBAL (\S+)")
_ALONE = (
    "Save its state_dict alone, best as .safetensors "
    "(safetensors.torch.save_file(model.state_dict(), ...))."
)
_DAMAGED = (OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError)


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of one file as stored, and the text the file carries about itself."""

    tensors: State
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over names, dtypes, shapes and values, in the order of the names.

        It tells weights apart, not files: repacking a .pth as .safetensors does not change it.
        """
        total = hashlib.sha256()
        for name in sorted(self.tensors):
            tensor = self.tensors[name].detach().cpu().contiguous()
            total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        return total.hexdigest()


def read_weights(path: Path) -> Weights:
    """The weights in a .safetensors file, or in a pickle that holds tensors and plain data only.

    Of a training checkpoint the network's tensors are read, and nothing else of it is kept.

    Raises:
        ZooError: no such file, not a weight file, damaged, or a pickle that would run code.
    """
    if not path.is_file():
        raise ZooError(f"There is no weight file '{path}'. Check the path.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.name.endswith(tuple(PICKLES)):
        return Weights(_tensors(path, _read_pickle(path)))
    known = ", ".join(sorted(SUFFIXES))
    raise ZooError(f"'{path}' is not a weight file derycc reads. It reads {known}.")


def stem(path: Path) -> str:
    """A weight file's name without what says its kind."""
    suffix = next((s for s in sorted(SUFFIXES) if path.name.endswith(s)), path.suffix)
    return path.name.removesuffix(suffix)


def load_strictly(module: nn.Module, state: State, name: str) -> None:
    """Copy every tensor of `state` into `module`; all must be there, fit, and be finite.

    A checkpoint under its authors' names is renamed first, as in `check_fit`.

    Raises:
        ZooError: naming the first keys that are missing, unknown, of another shape or not finite.
    """
    state = in_own_names(state, module)
    check_fit(module, state, name)
    broken = [k for k, t in state.items() if t.is_floating_point() and not t.isfinite().all()]
    if broken:
        raise ZooError(
            f"The weights of '{name}' are damaged: not finite in {_some(broken)}. Get them again."
        )
    module.load_state_dict(dict(state), strict=True)


def check_fit(module: nn.Module, state: State, name: str) -> None:
    """Compare names and shapes; `module` may be on the meta device.

    A checkpoint under its authors' names is compared under the network's own names, where the
    architecture brings a filter for it (`compiler.checkpoint_names`).

    Raises:
        ZooError: naming the first keys that are missing, unknown, or of another shape or type.
    """
    state = in_own_names(state, module)
    wanted = module.state_dict()
    # Files older than PyTorch 0.4.1 do not count batches; torch fills the counter in itself.
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    unknown = [k for k in state if k not in wanted]
    shapes = [
        f"{k} is {tuple(state[k].shape)} instead of {tuple(wanted[k].shape)}"
        for k in wanted
        if k in state and state[k].shape != wanted[k].shape
    ]
    types = [
        f"{k} holds {state[k].dtype}"
        for k, own in wanted.items()
        if k in state and own.is_floating_point() and not state[k].is_floating_point()
    ]
    faults = {
        "missing": missing,
        "not in the network": unknown,
        "of another shape": shapes,
        "of another type": types,
    }
    found = [f"{len(keys)} {fault} ({_some(keys)})" for fault, keys in faults.items() if keys]
    if found:
        raise ZooError(
            f"The weights of '{name}' do not fit the network: tensors {', '.join(found)}. "
            "Check that the architecture is the one they were trained in."
        )


def in_order(state: State, module: nn.Module, name: str) -> dict[str, torch.Tensor]:
    """The same tensors under the network's own names, the first for the first, and so on.

    Raises:
        ZooError: another number of tensors, or a pair that differs in shape or role.
    """
    wanted = module.state_dict()
    pairs = list(zip(state.items(), wanted.items(), strict=False))
    wrong = [
        f"{theirs} for {ours}"
        for (theirs, given), (ours, own) in pairs
        if given.shape != own.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]
    ]
    if len(state) != len(wanted) or wrong:
        raise ZooError(
            f"The {len(state)} tensors of '{name}' do not map in order to the {len(wanted)} of the "
            f"network: {_some(wrong) or 'their number differs'}. Use the timm version derycc asks "
            "for."
        )
    return {ours: given for (_, given), (ours, _) in pairs}


def save_weights(path: Path, weights: Weights) -> None:
    """Write a .safetensors file in one step: it is there whole, or not at all.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in weights.tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
            part = Path(folder) / path.name
            save_file(tensors, part, metadata=dict(weights.metadata))
            part.replace(path)
    except (OSError, SafetensorError) as error:
        raise WorkspaceError(
            f"Cannot write '{path}': {error}. Free some space, or choose another workspace folder."
        ) from error


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            return Weights(tensors, dict(file.metadata() or {}))
    except (SafetensorError, OSError) as error:
        raise ZooError(f"'{path}' is damaged or no safetensors: {error}. Get it again.") from error


def _read_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            # Torch warns of pickles by other hands; what it cannot read it refuses all the same.
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ZooError(_refusal(path, str(error))) from error
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "TorchScript" in reason:
            raise ZooError(
                f"'{path}' is refused: it is TorchScript, which is code. {_ALONE}"
            ) from (error)
        raise ZooError(f"'{path}' is damaged: {reason}. Get it again.") from error


def _refusal(path: Path, reason: str) -> str:
    """What to do about a pickle that torch does not read without running code."""
    if _NAMESPACE not in reason:
        found = _GLOBAL.search(reason)
        wants = f" ({found.group(1)})" if found else ""
        return (
            f"'{path}' is refused: it is damaged, or a pickle that needs code beyond tensors to be "
            f"run{wants}. {_ALONE}"
        )
    return (
        f"'{path}' is refused: beside tensors it holds the training script's options "
        f"({_NAMESPACE}), which only code can make. Write its tensors alone, once: python -c "
        '"import argparse, sys, torch, safetensors.torch as s; '
        f"torch.serialization.add_safe_globals([{_NAMESPACE}]); "
        "c = torch.load(sys.argv[1], 'cpu', weights_only=True); "
        "s.save_file({k: t.clone() for k, t in c.get('state_dict', c.get('model')).items()}, "
        f'sys.argv[2])" {path} {stem(path)}.safetensors'
    )


def _tensors(path: Path, content: object) -> dict[str, torch.Tensor]:
    entries = list(map(str, content)) if isinstance(content, Mapping) else []
    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
    if not isinstance(content, Mapping) or not content:
        raise ZooError(f"'{path}' holds no state_dict. Save model.state_dict() in it.")
    wrong = [str(k) for k, value in content.items() if not isinstance(value, torch.Tensor)]
    if wrong:
        raise ZooError(
            f"'{path}' holds more than tensors: {_some(wrong)}. Of what it holds ("
            f"{_some(entries)}), save the state_dict that you want alone, best as .safetensors."
        )
    parallel = all(str(key).startswith("module.") for key in content)
    return {str(k).removeprefix("module.") if parallel else str(k): t for k, t in content.items()}


def _some(keys: list[str], most: int = 3) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
