"""Donor grids: the size at which a donor has the grid that arrives, or the nearest there is."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from compiler.boundary import Boundary
from compiler.dissection import Dissection, dissect
from compiler.donor_grids import DonorGrids, start_of
from compiler.donors import Donors
from compiler.input_sizes import sized_copies
from compiler.zoo import open_zoo
from targets.errors import ZooError


class Choosy:
    """Donors of one toy that takes some sizes only, and keeps a list of those it was asked for.

    At 16 px its units begin on grids of 16, 8, 8 and 4.
    """

    def __init__(self, toy: nn.Module, *sizes: int) -> None:
        self.toy = toy
        self.sizes = sizes
        self.asked: list[int] = []

    def model(self, name: str) -> Any:
        return SimpleNamespace(preprocessing=SimpleNamespace(input_size=self.sizes[0]))

    def dissection(self, name: str, size: int) -> Dissection:
        self.asked.append(size)
        if size not in self.sizes:
            raise ZooError(f"{name} refuses {size} px")
        return dissect(self.toy, size, name)


def found(choosy: Choosy, first: str, side: int, input_size: int = 16) -> tuple[int, int]:
    grids = DonorGrids(choosy, input_size)  # type: ignore[arg-type]
    dissection = grids.at("toy", first, side)
    return dissection.input_size, Boundary.at(start_of(dissection, first), "toy").side


def test_a_donor_that_has_the_grid_already_is_not_cut_again(toy: nn.Module) -> None:
    choosy = Choosy(toy, 16)

    assert found(choosy, "blocks.1", 8) == (16, 8)
    assert choosy.asked == [16]


def test_a_donor_is_cut_at_the_size_that_gives_the_grid(toy: nn.Module) -> None:
    choosy = Choosy(toy, 16, 40)

    assert found(choosy, "blocks.3", 10) == (40, 10)
    assert choosy.asked == [16, 40]


def test_the_recipes_size_is_replaced_where_the_donor_refuses_it(toy: nn.Module) -> None:
    choosy = Choosy(toy, 16)

    assert found(choosy, "blocks.1", 8, input_size=24) == (16, 8)
    assert choosy.asked == [24, 16]


def test_the_nearest_grid_is_taken_where_there_is_no_such_size(toy: nn.Module) -> None:
    choosy = Choosy(toy, 16, 28)

    # 12 positions a side want 24 px; 26 and 22 px are refused as well, and 28 px gives 14.
    assert found(choosy, "blocks.1", 12) == (28, 14)
    assert choosy.asked == [16, 24, 26, 22, 28]


def test_a_donor_of_one_size_keeps_its_grid(toy: nn.Module) -> None:
    choosy = Choosy(toy, 16)

    assert found(choosy, "blocks.1", 10) == (16, 8)
    assert choosy.asked == [16, 20, 22, 18, 24]


def test_far_from_its_own_grid_a_donor_of_one_size_is_asked_a_few_times_only(
    toy: nn.Module,
) -> None:
    choosy = Choosy(toy, 16)

    assert found(choosy, "blocks.1", 500) == (16, 8)
    assert len(choosy.asked) == 1 + 49


def test_a_size_that_was_refused_is_not_asked_for_again(toy: nn.Module) -> None:
    choosy = Choosy(toy, 16)
    grids = DonorGrids(choosy, 16)  # type: ignore[arg-type]

    for _ in range(2):
        grids.at("toy", "blocks.1", 10)

    assert choosy.asked == [16, 20, 22, 18, 24, 16]


def test_a_donor_that_loses_the_node_at_a_size_has_no_grid_there(toy: nn.Module) -> None:
    class Forgetful(Choosy):
        def dissection(self, name: str, size: int) -> Dissection:
            made = super().dissection(name, size)
            return made if size == 16 else dissect(nn.Sequential(self.toy).eval(), size, name)

    assert found(Forgetful(toy, 16, 24), "blocks.1", 12) == (16, 8)


def test_a_stride_that_does_not_divide_is_corrected() -> None:
    class Unpadded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 7, 2)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(3)
            )
            self.head = nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean((2, 3)))

    choosy = Choosy(Unpadded().eval(), 33, *range(20, 60))
    first = choosy.dissection("toy", 33).boundaries[1].name

    assert found(choosy, first, 10, input_size=33)[1] == 10


def test_an_own_size_that_cannot_be_cut_is_refused(toy: nn.Module) -> None:
    class Refusing(Choosy):
        def dissection(self, name: str, size: int) -> Dissection:
            raise ZooError(f"{name} refuses {size} px")

    with pytest.raises(ZooError, match="toy refuses 32 px"):
        found(Refusing(toy, 32), "blocks.1", 8)


def test_a_network_without_a_size_of_its_own_has_no_sized_copies(toy: nn.Module) -> None:
    assert list(sized_copies(toy, 32)) == []


def test_a_change_of_size_that_fails_gives_no_copy() -> None:
    class Stubborn(nn.Module):
        def set_input_size(self, img_size: tuple[int, int]) -> None:
            raise ValueError(f"not {img_size}")

    assert list(sized_copies(Stubborn(), 32)) == []


def test_a_transformer_of_one_size_is_changed_to_another(four_donors: Donors) -> None:
    small = four_donors.dissection("test_vit.random", 32)

    assert small.boundaries[0].tensor.shape == (1, 5, 64)
    assert four_donors.module("test_vit.random").pos_embed.shape == (1, 101, 64)


def test_untrained_donors_are_made_anew_where_they_cannot_be_changed(tmp_path: Path) -> None:
    donors = Donors(open_zoo(tmp_path, "random:cait_xxs24_224"), shapes_only=True)

    assert donors.dissection("cait_xxs24_224.random", 32).boundaries[0].token_grid == (2, 2)
