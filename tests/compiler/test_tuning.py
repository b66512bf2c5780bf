"""Tuning: stitches fit what they should imitate, and frozen means frozen."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from compiler.donors import Donors
from compiler.images import ImageSet, load_images
from compiler.network import Blueprint, Network, Segment, build
from compiler.stitching import resample
from compiler.tuning import PRIOR_VIEWS, fit_stitch, recalibrate, tune
from compiler.views import Views

EFFICIENT, RESIDUAL = "test_efficientnet.random", "test_resnet.random"
HALVES = Blueprint(
    64, (Segment(EFFICIENT, "input", "blocks.1.0"), Segment(RESIDUAL, "layer1.0", "output"))
)
# Joined on a grid of 8 x 8, so that all positions are sampled.
EIGHTS = Blueprint(
    64,
    (Segment(EFFICIENT, "input", "blocks.2.0"), Segment(RESIDUAL, "layer2.0", "output")),
)
ITSELF = Blueprint(
    64, (Segment(EFFICIENT, "input", "blocks.2.0"), Segment(EFFICIENT, "blocks.2.0", "output"))
)


def views_of(images: ImageSet, network: Network, per_image: int = 2) -> Views:
    return Views(images, network.preprocessing, per_image)


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(module: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


def test_a_stitch_between_a_donor_and_itself_is_nearly_the_identity(
    tiny_donors: Donors, pictures: ImageSet
) -> None:
    network = build(ITSELF, tiny_donors)

    r2 = fit_stitch(network, 0, tiny_donors, views_of(pictures, network))

    assert r2 > 0.99


def test_a_fitted_stitch_is_numpys_ridge_regression(
    tiny_donors: Donors, pictures: ImageSet
) -> None:
    network = build(EIGHTS, tiny_donors)
    (pixels,) = views = views_of(pictures, network)
    target = tiny_donors.dissection(RESIDUAL, 64)
    head = target.module(target.cuts[0], target.cut("layer2.0"))

    r2 = fit_stitch(network, 0, tiny_donors, views)

    stitch = network.stitches[0]
    x = resample(network.prefix(network.preprocessing.normalize(pixels), 0), stitch.shape)
    goal = head(tiny_donors.preprocessing(RESIDUAL, 64).normalize(pixels))
    a, b = (t.detach().double().permute(0, 2, 3, 1).flatten(0, 2).numpy() for t in (x, goal))
    left, right = a - a.mean(0), b - b.mean(0)
    penalty = 1e-3 * np.square(left).mean() * len(left)
    weight = np.linalg.solve(left.T @ left + penalty * np.eye(left.shape[1]), left.T @ right).T
    assert stitch.conv.weight[:, :, 0, 0].numpy() == pytest.approx(weight, rel=1e-4, abs=1e-5)
    assert stitch.conv.bias.numpy() == pytest.approx(b.mean(0) - weight @ a.mean(0), abs=1e-4)
    residual = right - left @ weight.T
    assert r2 == pytest.approx(1 - np.square(residual).sum() / np.square(right).sum(), abs=1e-6)


def test_tuning_leaves_the_donors_and_the_first_segment_untouched(
    tiny_donors: Donors, pictures: ImageSet
) -> None:
    network = build(HALVES, tiny_donors)
    donors = {name: tensors(tiny_donors.module(name)) for name in (EFFICIENT, RESIDUAL)}
    first, second = tensors(network.segments[0]), tensors(network.segments[1])

    tuned = tune(network, tiny_donors, views_of(pictures, network))

    assert tuned is network
    assert all(same(tiny_donors.module(name), donors[name]) for name in donors)
    assert same(network.segments[0], first)
    changed = {
        n for n, v in network.segments[1].state_dict().items() if not torch.equal(v, second[n])
    }
    assert changed
    assert all(name.rpartition(".")[2].startswith(("running_", "num_")) for name in changed)
    assert not any(part.training for part in network.modules())
    assert {norm.momentum for norm in norms(network)} == {0.1}


def test_tuning_a_pure_donor_changes_nothing(tiny_donors: Donors, pictures: ImageSet) -> None:
    network = build(Blueprint.pure(EFFICIENT, 64), tiny_donors)
    before = tensors(network)

    tune(network, tiny_donors, views_of(pictures, network))

    assert same(network, before)


def test_statistics_move_by_the_views_share_against_the_prior(
    tiny_donors: Donors, pictures: ImageSet
) -> None:
    network = build(ITSELF, tiny_donors)
    views = views_of(pictures, network)
    norm = norms(network.segments[1])[0]
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    old_mean, old_variance = norm.running_mean.clone(), norm.running_var.clone()

    recalibrate(network, views)

    (x,) = seen
    share = 20 / (20 + PRIOR_VIEWS)
    mean = old_mean + share * (x.mean((0, 2, 3)) - old_mean)
    variance = old_variance + share * (x.var((0, 2, 3)) - old_variance)
    assert torch.allclose(norm.running_mean, mean, rtol=1e-4, atol=1e-6)
    assert torch.allclose(norm.running_var, variance, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [32])
def test_a_last_batch_of_one_view_is_no_obstacle_on_a_grid_of_one_position(
    tiny_donors: Donors, tmp_path: Path, size: int
) -> None:
    for i in range(33):
        Image.new("RGB", (40, 40), (7 * i, 255 - 7 * i, 90)).save(tmp_path / f"{i}.png")
    parts = (Segment(EFFICIENT, "input", "blocks.3.0"), Segment(EFFICIENT, "blocks.3.0", "output"))
    network = build(Blueprint(size, parts), tiny_donors)

    tune(network, tiny_donors, views_of(load_images(tmp_path), network, 1))

    assert bool(torch.isfinite(network(torch.zeros(1, 3, size, size))).all())


def test_a_single_view_says_nothing_about_statistics(
    tiny_donors: Donors, pictures: ImageSet
) -> None:
    network = build(ITSELF, tiny_donors)
    one = ImageSet(pictures.root, pictures.paths[:1])
    old = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms(network)]

    recalibrate(network, views_of(one, network, 1))

    now = [(norm.running_mean, norm.running_var) for norm in norms(network)]
    assert all(
        torch.equal(a, b) for x, y in zip(old, now, strict=True) for a, b in zip(x, y, strict=True)
    )
