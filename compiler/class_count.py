"""How many classes a checkpoint tells apart, read off its classifier."""

from collections.abc import Mapping

from torch import nn

from compiler.checkpoint_names import State, in_own_names


def class_count(state: State, module: nn.Module) -> int | None:
    """The number of classes in a checkpoint, where it is another one than the network's.

    Args:
        state: names and tensors of a file.
        module: the network as it is made by default, also on the meta device.

    Returns:
        The rows of the classifier's weight; 0 where the file has all of the network but its
        classifier. None where the network is right as it is, or the file is of another network.
    """
    own, given = module.state_dict(), in_own_names(state, module)
    heads = classifiers(module)
    weights = [f"{head}.weight" for head in heads]
    found = {key: given[key] for key in weights if key in given}
    if not found:
        return 0 if _lacks_its_head_alone(own, given, heads) else None
    counts = {len(tensor) for tensor in found.values() if tensor.dim() >= 2}
    alike = all(own[key].shape[1:] == found[key].shape[1:] for key in found if key in own)
    same = all(key in own and own[key].shape == found[key].shape for key in found)
    return counts.pop() if len(counts) == 1 and alike and not same else None


def _lacks_its_head_alone(own: State, given: State, heads: tuple[str, ...]) -> bool:
    """Whether what a file lacks is in the modules that the classifiers are in, and in them alone.

    They may hold a normalization as well, which some networks keep without their classifier.
    """
    tops = tuple(f"{head.partition('.')[0]}." for head in heads)
    missing = own.keys() - given.keys()
    return bool(missing) and given.keys() <= own.keys() and all(k.startswith(tops) for k in missing)


def classifiers(module: nn.Module) -> tuple[str, ...]:
    """Names of the layers that answer: as timm says, else the last linear layer or convolution."""
    config = getattr(module, "pretrained_cfg", None)
    said = config.get("classifier") if isinstance(config, Mapping) else None
    if said:
        return (said,) if isinstance(said, str) else tuple(said)
    asked = getattr(module, "get_classifier", None)
    named = dict(module.named_modules())
    if callable(asked):
        answer = asked()
        return tuple(name for name, part in named.items() if name and part is answer)
    layers = [name for name, part in named.items() if isinstance(part, nn.Linear | nn.Conv2d)]
    return tuple(layers[-1:])
