"""Donors: loaded and cut once, frozen, at any size."""

from pathlib import Path

import pytest
from torch import nn

from compiler.dissection import Dissection
from compiler.donors import Donors
from compiler.zoo import Zoo, open_zoo
from targets.errors import UnknownNameError, ZooError


def test_donors_have_the_zoos_names_and_sizes(tiny_zoo: Zoo) -> None:
    donors = Donors(tiny_zoo)

    assert donors.names == ("test_efficientnet.random", "test_resnet.random")
    assert donors.sizes == (160,)
    assert donors.model("test_efficientnet") is tiny_zoo.models[0]


def test_a_donor_is_loaded_once_in_eval_mode_and_frozen(tiny_donors: Donors) -> None:
    module = tiny_donors.module("test_efficientnet.random")

    assert module is tiny_donors.module("test_efficientnet.random")
    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_a_donor_is_cut_once_a_size(tiny_donors: Donors) -> None:
    name = "test_efficientnet.random"

    small, again, large = (tiny_donors.dissection(name, size) for size in (64, 64, 96))

    assert small is again
    assert (small.name, small.input_size, large.input_size) == (name, 64, 96)
    assert [cut.name for cut in small.cuts] == [cut.name for cut in large.cuts]
    assert large.cuts[1].grid == (48, 48)


def test_preprocessing_follows_the_size_asked_for(tiny_donors: Donors) -> None:
    name = tiny_donors.names[0]

    preprocessing = tiny_donors.preprocessing(name, 64)

    assert preprocessing == tiny_donors.model(name).preprocessing.at(64)


def test_an_unknown_donor_is_answered_with_the_nearest(tiny_donors: Donors) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'test_efficientnet\.random'"):
        tiny_donors.module("test_effnet")


def test_sizes_are_listed_once_in_ascending_order(tmp_path: Path) -> None:
    zoo = open_zoo(tmp_path, "random:test_resnet,random:resnet10t,random:resnet18")

    assert Donors(zoo).sizes == (160, 176, 224)


def test_a_size_that_is_refused_in_every_way_is_refused_with_the_first_reason(
    tiny_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[nn.Module] = []

    def refuse(module: nn.Module, size: int, name: str) -> Dissection:
        tried.append(module)
        raise ZooError(f"{len(tried)}: {name} refuses {size} px")

    copies = [nn.Identity(), nn.Identity()]
    monkeypatch.setattr("compiler.donors.dissect", refuse)
    monkeypatch.setattr("compiler.donors.sized_copies", lambda module, size: iter(copies))
    donors = Donors(tiny_zoo)

    with pytest.raises(ZooError, match=r"^1: test_resnet\.random refuses 64 px$"):
        donors.dissection("test_resnet.random", 64)
    assert tried == [donors.module("test_resnet.random"), *copies]


def test_at_its_own_size_a_donor_is_not_changed(
    tiny_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(module: nn.Module, size: int, name: str) -> Dissection:
        raise ZooError(f"{name} refuses {size} px")

    monkeypatch.setattr("compiler.donors.dissect", refuse)
    monkeypatch.setattr("compiler.donors.sized_copies", None)

    with pytest.raises(ZooError, match="refuses 160 px"):
        Donors(tiny_zoo).dissection("test_resnet.random", 160)


def test_donors_of_shapes_alone_have_no_weights(tiny_zoo: Zoo) -> None:
    donors = Donors(tiny_zoo, shapes_only=True)

    assert all(p.is_meta for p in donors.module("test_resnet.random").parameters())
