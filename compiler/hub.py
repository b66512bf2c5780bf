"""timm's own pretrained weights: fetched once from its hub, or quickly said to be out of reach."""

from pathlib import Path

import torch
from huggingface_hub import constants, try_to_load_from_cache
from timm import create_model, list_pretrained
from timm.models import PretrainedCfg, get_pretrained_cfg

from compiler.preprocessing import Preprocessing
from compiler.progress import Progress, Silent
from compiler.reach import first_line, refusal
from compiler.weights import Weights, save_weights
from compiler.zoo_metadata import Description
from targets.errors import UnknownNameError, UsageError, ZooError

_FILE = "model.safetensors"


def fetch_pretrained(name: str, home: Path, progress: Progress | None = None) -> Path:
    """Pretrained weights of timm as `home`/zoo/NAME.safetensors, NAME with its tag.

    Raises:
        UnknownNameError: timm has no pretrained weights of that name.
        ZooError: its hub cannot be reached, or the network does not take square RGB pictures.
        WorkspaceError: the folder cannot be written.
    """
    config = _config(name)
    full = ".".join(part for part in (config.architecture, config.tag) if part)
    path = home / "zoo" / f"{full}.safetensors"
    if not path.is_file():
        description = _description(full, config)
        progress = progress or Silent()
        progress.start("fetching weights", 1)
        progress.update(0, f"{full} from timm's hub")
        save_weights(path, Weights(_tensors(full, config), description.to_metadata()))
        progress.finish(f"fetched {full}")
    return path


def _config(name: str) -> PretrainedCfg:
    architecture = name.partition(".")[0]
    try:
        config = get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        known = list_pretrained(f"{architecture}.*")
        raise UnknownNameError("pretrained network of timm", name, known) from error
    if config is None or not config.has_weights:
        raise ZooError(
            f"timm has the architecture '{name}' but no pretrained weights for it. Give your own "
            f"as {architecture}=FILE, or use random:{architecture} where only latency matters."
        )
    return config


def _description(name: str, config: PretrainedCfg) -> Description:
    try:
        preprocessing = Preprocessing.from_config(vars(config))
    except UsageError as error:
        raise ZooError(f"The network '{name}' cannot be used: {error} Choose another.") from error
    return Description(
        architecture=config.architecture or name.partition(".")[0],
        preprocessing=preprocessing,
        licence=config.license or "unknown",
        source=f"timm pretrained {name}",
    )


def _tensors(name: str, config: PretrainedCfg) -> dict[str, torch.Tensor]:
    cached = try_to_load_from_cache(config.hf_hub_id, _FILE) if config.hf_hub_id else None
    overlay = {"file": cached} if isinstance(cached, str) else None
    if overlay is None:
        _reach(name, constants.ENDPOINT if config.hf_hub_id else str(config.url))
    try:
        with torch.random.fork_rng(devices=[]):
            module = create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except (OSError, RuntimeError, ValueError) as error:
        raise _away(name, error) from error
    return {key: tensor.clone() for key, tensor in module.state_dict().items()}


def _reach(name: str, address: str) -> None:
    """Ask the hub for anything at all: its client would retry for most of a minute."""
    if constants.HF_HUB_OFFLINE:
        raise _away(name, "HF_HUB_OFFLINE is set")
    reason = refusal(address)
    if reason is not None:
        raise _away(name, reason)


def _away(name: str, reason: object) -> ZooError:
    architecture = name.partition(".")[0]
    return ZooError(
        f"Cannot fetch the pretrained weights '{name}' of timm: {first_line(reason)}. Check the "
        "network (a mirror of the hub is named in HF_ENDPOINT, a proxy in HTTPS_PROXY); or fetch "
        f"the file elsewhere and give it as {architecture}=FILE; or use random:{architecture} "
        "where only latency and shapes matter, or the demo donors ('demo')."
    )
