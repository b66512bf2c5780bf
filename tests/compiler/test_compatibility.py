"""Compatibility: which cuts may be joined, and how well, against a regression by hand."""

from functools import cache

import numpy as np
import pytest
import timm
import torch

from backends.model import TensorSpec
from compiler.compatibility import PairRule, StitchOption, stitch_options
from compiler.dissection import Cut, Dissection, dissect
from compiler.preprocessing import Preprocessing
from compiler.stitching import RIDGE, StitchShape

ALL = PairRule(window=1.0, per_cut=99)
PREPROCESSING = Preprocessing(16)


def cut(depth: float, *shape: int, layout: str = "NCHW") -> Cut:
    return Cut("c", 3, TensorSpec("c", (1, *shape), "float32", layout), 8, depth)


def batches(count: int = 3, mean: float = 0.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(8, 3, 16, 16, generator=generator) + mean for _ in range(count)]


def options(
    dissections: tuple[Dissection, ...], rule: PairRule = ALL, mean: float = 0.0
) -> tuple[StitchOption, ...]:
    return stitch_options(dissections, [PREPROCESSING] * len(dissections), batches(mean=mean), rule)


@cache
def transformer() -> Dissection:
    donor = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=16, depth=2)
    return dissect(donor.eval(), 16, "vit")


@pytest.mark.parametrize(
    ("source", "target", "allowed"),
    [
        (cut(0.5, 8, 14, 14), cut(0.6, 16, 14, 14), True),
        (cut(0.5, 8, 14, 14), cut(0.6, 16, 7, 7), True),
        (cut(0.5, 8, 15, 15), cut(0.6, 16, 8, 8), True),
        (cut(0.5, 8, 14, 14), cut(0.66, 16, 14, 14), False),
        (cut(0.5, 8, 14, 14), cut(0.34, 16, 14, 14), False),
        (cut(0.5, 8, 7, 7), cut(0.6, 16, 14, 14), False),
        (cut(0.5, 8, 28, 28), cut(0.6, 16, 7, 7), False),
        (cut(0.5, 8, 14, 14), cut(0.6, 16, 6, 6), False),
        (cut(0.0, 3, 14, 14), cut(0.1, 16, 14, 14), False),
        (cut(0.1, 8, 14, 14), cut(0.0, 3, 14, 14), False),
        (cut(1.0, 8, 14, 14), cut(0.9, 16, 14, 14), False),
        (cut(0.9, 8, 14, 14), cut(1.0, 16, 14, 14), False),
        (cut(0.5, 196, 192, layout="NLC"), cut(0.5, 196, 192, layout="NLC"), False),
        (cut(0.5, 14, 14, 96, layout="NHWC"), cut(0.5, 96, 14, 14), False),
        (cut(0.5, 96, 14, 14), cut(0.5, 14, 14, 96, layout="NHWC"), False),
    ],
)
def test_cuts_are_joined_at_like_depth_on_equal_or_halved_grids(
    source: Cut, target: Cut, allowed: bool
) -> None:
    assert PairRule().allows(source, target) is allowed


def test_every_option_is_allowed_leads_elsewhere_and_comes_in_order(
    toys: tuple[Dissection, Dissection],
) -> None:
    rule = PairRule(window=0.3, per_cut=99)

    found = options(toys, rule)

    assert found
    assert all(rule.allows(option.source, option.target) for option in found)
    assert all(option.source_model != option.target_model for option in found)
    keys = [(o.source_model, o.source.position, o.target_model, o.target.position) for o in found]
    assert keys == sorted(set(keys))
    # Grids 8, 8, 4, 4 at depths .2, .4, .6, .8: three pairs on 8, three on 4, and .4 to .6; twice.
    assert len(found) == 2 * (4 + 4 + 1)


def test_a_fit_is_numpys_regression_over_all_positions(
    toys: tuple[Dissection, Dissection],
) -> None:
    narrow, wide = toys
    x = PREPROCESSING.normalize(torch.cat(batches()))

    found = options(toys)

    for option in found:
        donors = {"narrow": narrow, "wide": wide}
        source, target = donors[option.source_model], donors[option.target_model]
        with torch.no_grad():
            left = source.module(source.cuts[0], option.source)(x)
            right = target.module(target.cuts[0], option.target)(x)
        left = left[:, :, :: option.shape.stride, :: option.shape.stride]
        assert option.r2 == pytest.approx(regression(left, right), abs=1e-4)
        assert option.shape == StitchShape.between(option.source, option.target)


def test_r2_is_taken_on_views_that_nothing_was_fitted_to(
    toys: tuple[Dissection, Dissection],
) -> None:
    fitted, unseen = batches(1), batches(3, mean=0.3)[2:]
    donors = {d.name: d for d in toys}
    both = [PREPROCESSING] * 2

    found = stitch_options(toys, both, fitted, ALL, checks=unseen)

    assert found
    for option in found:
        sides = [
            activations(donors[model], cut, views, stride)
            for views in (fitted, unseen)
            for model, cut, stride in (
                (option.source_model, option.source, option.shape.stride),
                (option.target_model, option.target, 1),
            )
        ]
        assert option.r2 == pytest.approx(unseen_r2(*sides), abs=1e-3)


def activations(donor: Dissection, cut: Cut, views: list[torch.Tensor], stride: int) -> np.ndarray:
    with torch.no_grad():
        found = donor.module(donor.cuts[0], cut)(PREPROCESSING.normalize(torch.cat(views)))
    kept = found[:, :, ::stride, ::stride].double()
    return kept.permute(0, 2, 3, 1).flatten(0, 2).numpy()


def unseen_r2(x: np.ndarray, y: np.ndarray, seen_x: np.ndarray, seen_y: np.ndarray) -> float:
    """Fitted to x and y, judged on the others, by numpy."""
    a, b = x - x.mean(0), y - y.mean(0)
    penalty = RIDGE * np.square(a).mean() * len(a)
    weight = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ b)
    residual = seen_y - y.mean(0) - (seen_x - x.mean(0)) @ weight
    return float(1 - np.square(residual).sum() / np.square(seen_y - seen_y.mean(0)).sum())


def regression(left: torch.Tensor, right: torch.Tensor) -> float:
    a, b = (t.double().permute(0, 2, 3, 1).flatten(0, 2).numpy() for t in (left, right))
    a, b = a - a.mean(0), b - b.mean(0)
    penalty = RIDGE * np.square(a).mean() * len(a)
    weight = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ b)
    return float(1 - np.square(b - a @ weight).sum() / np.square(b).sum())


def test_a_twin_explains_its_twin(toys: tuple[Dissection, Dissection]) -> None:
    narrow, _ = toys
    twin = Dissection("twin", narrow._graph, 16)

    found = options((narrow, twin))

    same = [option.r2 for option in found if option.source.name == option.target.name]
    assert len(same) == 8
    assert min(same) > 0.99


def test_the_best_targets_of_each_cut_are_kept_per_donor_and_grid(
    toys: tuple[Dissection, Dissection],
) -> None:
    narrow, wide = toys
    donors = (narrow, wide, Dissection("twin", narrow._graph, 16))
    everything = options(donors)

    found = options(donors, PairRule(window=1.0, per_cut=1))

    for option in found:
        rivals = [
            o.r2
            for o in everything
            if (o.source_model, o.source, o.target_model, o.target.grid)
            == (option.source_model, option.source, option.target_model, option.target.grid)
        ]
        assert option.r2 == pytest.approx(max(rivals), abs=1e-12)
    # Four cuts each, two of which lead to two grids, to each of two other donors.
    assert len(found) == 3 * 6 * 2


def test_bright_pictures_do_not_spoil_the_fits(toys: tuple[Dissection, Dissection]) -> None:
    dim, bright = options(toys), options(toys, mean=1000.0)

    assert len(dim) == len(bright)
    assert all(-1e-6 <= option.r2 <= 1.0 for option in bright)


def test_donors_without_grids_are_left_out(toys: tuple[Dissection, Dissection]) -> None:
    narrow, wide = toys

    alone, among = options((transformer(),)), options((narrow, transformer(), wide))

    assert alone == ()
    assert {(o.source_model, o.target_model) for o in among} == {
        ("narrow", "wide"),
        ("wide", "narrow"),
    }


def test_progress_counts_views(toys: tuple[Dissection, Dissection]) -> None:
    seen: list[int] = []

    stitch_options(toys, [PREPROCESSING] * 2, batches(), ALL, seen.append)

    assert seen == [8, 16, 24]
