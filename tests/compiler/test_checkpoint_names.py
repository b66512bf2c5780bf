"""Names in checkpoints: what tools put before or beside the network's own is taken off."""

import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision import models

from compiler.checkpoint_names import in_own_names
from compiler.weights import load_strictly

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.", "encoder.")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))


@given(prefixes=st.lists(st.sampled_from(PREFIXES), max_size=3))
def test_what_tools_put_before_all_names_is_taken_off(prefixes: list[str]) -> None:
    before = "".join(prefixes)
    given_state = {before + key: tensor for key, tensor in network().state_dict().items()}

    found = in_own_names(given_state, network())

    assert list(found) == list(network().state_dict())


def test_a_prefix_that_is_the_networks_own_stays() -> None:
    wrapped = nn.ModuleDict({"model": network()})

    assert list(in_own_names(wrapped.state_dict(), wrapped)) == list(wrapped.state_dict())


def test_a_prefix_that_only_some_names_have_leaves_the_others_to_be_named() -> None:
    state = {f"model.{key}": tensor for key, tensor in network().state_dict().items()}
    state["criterion.weight"] = torch.zeros(1)

    found = in_own_names(state, network())

    assert set(found) == {*network().state_dict(), "criterion.weight"}


def test_names_that_would_become_one_are_left_alone() -> None:
    state = {"a.0.weight": torch.zeros(1), "0.weight": torch.zeros(1), "a.1.bias": torch.zeros(1)}

    assert set(in_own_names(state, network())) == set(state)


def test_names_of_another_network_are_left_alone() -> None:
    state = {"stem.weight": torch.zeros(1), "stem.bias": torch.zeros(1), "scale": torch.zeros(1)}

    assert set(in_own_names(state, network())) == set(state)


def test_densenets_of_old_files_get_the_names_of_today() -> None:
    with torch.device("meta"):
        dense = models.get_model("densenet121", weights=None)
    new = list(dense.state_dict())
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): tensor
        for key, tensor in dense.state_dict().items()
    }

    assert set(old) != set(new)
    assert list(in_own_names(old, dense)) == new


def test_heads_that_only_training_uses_are_left_out() -> None:
    arguments = {"init_weights": False, "transform_input": True}
    with torch.device("meta"):
        trained = models.get_model("inception_v3", weights=None, aux_logits=True, **arguments)
        plain = timm.create_model("inception_v3", pretrained=False)
    assert "AuxLogits.fc.weight" in trained.state_dict()

    assert set(in_own_names(trained.state_dict(), plain)) == set(plain.state_dict())
    assert set(in_own_names(trained.state_dict(), trained)) == set(trained.state_dict())


def test_files_of_the_authors_are_renamed_by_the_architectures_own_filter() -> None:
    made = timm.create_model("swin_s3_tiny_224", pretrained=False)
    own = made.state_dict()
    theirs = {key.replace("head.fc.", "head."): tensor for key, tensor in own.items()}
    theirs = {
        _released(key) if ".downsample." in key else key: tensor for key, tensor in theirs.items()
    }
    assert set(theirs) != set(own)

    load_strictly(made, {f"module.{key}": tensor for key, tensor in theirs.items()}, "swin")

    assert set(in_own_names(theirs, made)) == set(own)


def _released(key: str) -> str:
    """timm merges patches at the beginning of a stage, the authors at the end of the one before."""
    _, stage, rest = key.split(".", 2)
    return f"layers.{int(stage) - 1}.{rest}"
