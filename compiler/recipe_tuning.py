"""Tuning a recipe's network without labels or gradients, as far as that is possible.

Least squares fits a linear stitch to what its donor has there, if what arrives is no noise: nothing
before it may be untrained. DeRy's layers are no least-squares problem and stay as they are.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from compiler.donors import Donors
from compiler.linear_stitch import LinearStitch
from compiler.recipe_network import RecipeNetwork
from compiler.recipe_plan import RecipePlan
from compiler.segment_runs import GraphRun
from compiler.tuning import fit_pairs, recalibrate
from compiler.views import Views


def tune_recipe(
    network: RecipeNetwork, plan: RecipePlan, donors: Donors, views: Views
) -> RecipeNetwork:
    """Fit the stitches that can be fitted; where that is all, recalibrate batch-norms behind them.

    Args:
        network: changed in place, and returned.
        plan: what it was built from.
        donors: the networks that the segments come from.
        views: calibration views at the network's input size.
    """
    for index in range(plan.fitted):
        fit_linear(network, index, plan, donors, views)
    if plan.stitches and plan.fitted == len(plan.stitches) and not plan.head:
        recalibrate(network, views)
    return network


@torch.no_grad()
def fit_linear(
    network: RecipeNetwork, index: int, plan: RecipePlan, donors: Donors, views: Views
) -> float:
    """Least squares from what arrives at a linear stitch to what its target donor has there.

    Class and register tokens that the stitch has to make become the donor's mean ones.

    Returns:
        R2 on the views.
    """
    stitch, run = network.stitches[index], plan.runs[index + 1]
    assert isinstance(stitch, LinearStitch) and isinstance(run, GraphRun)
    shape, constants = stitch.shape, stitch.constants
    prefixes: list[Tensor] = []

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for pixels, wanted in _wanted(run, donors, views):
            arriving = network.prefix(network.preprocessing.normalize(pixels), index)
            if constants is not None:
                prefixes.append(wanted[:, : shape.constants])
            yield shape.read_source(arriving), shape.read_target(wanted)

    r2 = fit_pairs(stitch.stitch, pairs())
    if constants is not None:
        constants.copy_(torch.cat(prefixes).mean(0, keepdim=True))
    return r2


def _wanted(run: GraphRun, donors: Donors, views: Views) -> Iterator[tuple[Tensor, Tensor]]:
    """Every batch of views, with what a segment's donor has at its beginning.

    A donor that refuses the network's input size sees the same crops at its own.
    """
    dissection = run.dissection
    imitated = dissection.module(dissection.cuts[0], run.start)
    preprocessing = donors.preprocessing(run.segment.model, run.input_size)
    same = replace(views, preprocessing=views.preprocessing.at(run.input_size))
    for pixels, own in zip(views, same, strict=True):
        yield pixels, imitated(preprocessing.normalize(own))
