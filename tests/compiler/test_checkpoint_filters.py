"""Foreign names: an architecture's own filter is asked, and believed where its answer fits."""

import re
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import timm
import torch
from torch import Tensor, nn

from compiler.checkpoint_names import in_own_names
from compiler.weights import check_fit, load_strictly
from targets.errors import ZooError

Filter = Callable[[dict[str, Tensor], nn.Module], object]


class Tiny(nn.Module):
    """One linear layer and a norm, whose Python module the tests give a filter."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)


def network(monkeypatch: pytest.MonkeyPatch, rename: Filter) -> nn.Module:
    module = ModuleType("somebody_elses_architecture")
    module.checkpoint_filter_fn = rename  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Tiny, "__module__", module.__name__)
    return Tiny()


def foreign() -> dict[str, Tensor]:
    return {f"{key}_old": tensor for key, tensor in Tiny().state_dict().items()}


def without_old(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    return {key.removesuffix("_old"): tensor for key, tensor in state.items()}


def test_the_filter_of_the_architecture_gives_a_checkpoint_its_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = network(monkeypatch, without_old)
    state = foreign()

    check_fit(model, state, "tiny")
    load_strictly(model, state, "tiny")

    assert torch.equal(model.state_dict()["fc.weight"], state["fc.weight_old"])


def test_batch_counters_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(monkeypatch, without_old)
    state = {key: tensor for key, tensor in foreign().items() if "num_batches" not in key}

    found = in_own_names(state, model)

    assert set(found) == set(model.state_dict()) - {"norm.num_batches_tracked"}


def test_a_checkpoint_whose_names_are_right_is_not_filtered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = network(monkeypatch, lambda state, model: pytest.fail("it was asked"))
    state = Tiny().state_dict()

    found = in_own_names(state, model)

    assert all(found[key] is tensor for key, tensor in state.items())
    assert len(found) == len(state)


def refuse(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    raise KeyError("patch_embed")


@pytest.mark.parametrize(
    "rename",
    [refuse, lambda state, model: {}, lambda state, model: None],
    ids=["raises", "empty", "none"],
)
def test_a_filter_that_does_not_help_leaves_the_checkpoint_to_be_refused_by_its_own_keys(
    monkeypatch: pytest.MonkeyPatch, rename: Filter
) -> None:
    model = network(monkeypatch, rename)

    with pytest.raises(ZooError, match=r"not in the network \(fc\.weight_old"):
        check_fit(model, foreign(), "tiny")


def as_published(key: str) -> str:
    """The name of a tensor of timm's ConvNeXt in its authors' checkpoints."""
    key = key.replace("head.norm.", "norm.").replace("head.fc.", "head.")
    key = key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv").replace(".blocks.", ".")
    key = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", key)
    return re.sub(r"^stem\.", "downsample_layers.0.", key)


def test_timms_own_filters_are_found() -> None:
    with torch.device("meta"):
        model = timm.create_model("convnext_atto", num_classes=10)
    own = model.state_dict()
    published = {as_published(key): tensor for key, tensor in own.items()}

    found = in_own_names(published, model)

    assert "stages.3.1.pwconv1.weight" in published
    assert set(found) == set(own)
    check_fit(model, published, "convnext_atto")


def test_a_network_without_a_filter_takes_its_own_names_alone() -> None:
    with pytest.raises(ZooError, match=r"not in the network \(fc\.weight_old"):
        check_fit(Tiny(), foreign(), "tiny")
