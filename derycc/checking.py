"""Checking a finished build: does it still keep its budget, and what was it made of?"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load

from compiler.design import Design, DesignedNetwork, build_design, design_of
from compiler.donors import Donors
from compiler.network import Blueprint, Segment
from compiler.progress import Progress
from compiler.recipe import Recipe
from compiler.recipe_zoo import Weights, open_recipe_zoo
from compiler.user_models import is_user_code
from compiler.zoo import Zoo, open_zoo
from derycc.build_files import MOST_WEIGHTS, read_file
from derycc.build_model import open_build
from derycc.console import milliseconds
from derycc.manifest import NAME, Latency, Manifest, check_files, read_manifest
from derycc.manifest_targets import OnTarget
from derycc.session import WHOLE_PROTOCOL, Options, make_home
from derycc.verify_file import require_verified
from profilers.measurement import Measurement
from profilers.profile import profile
from profilers.store import CostStore
from targets.errors import BudgetMissedError, UsageError, ZooError
from targets.target import get_target

_WEIGHTS = "network.safetensors"


@dataclass(frozen=True, slots=True)
class Benched:
    """A build measured again.

    Attributes:
        manifest: what it said of itself.
        measurement: fresh samples on the target.
        target: which; one that it was not built for has the budget of the first.
    """

    manifest: Manifest
    measurement: Measurement
    target: str

    @property
    def then(self) -> Latency | OnTarget:
        """What was promised and measured on this target when it was built."""
        rows = {one.target: one for one in self.manifest.targets[1:]}
        return rows.get(self.target, self.manifest.latency)

    @property
    def within_budget(self) -> bool:
        """Whether the upper end is within the budget it was built for, if there is one."""
        budget_us = self.then.budget_us
        return budget_us is None or self.measurement.upper_us <= budget_us

    def data(self) -> dict[str, Any]:
        """For `--json`."""
        now, then = self.measurement, self.then
        return {
            "budget_us": then.budget_us,
            "median_us": now.median_us,
            "interval_us": now.interval_us,
            "p90_us": now.p90_us,
            "p99_us": now.p99_us,
            "noisy": now.noisy,
            "recorded_us": then.measured_us,
            "recorded_interval_us": then.measured_interval_us,
            "within_budget": self.within_budget,
        }

    def lines(self) -> list[str]:
        """For people."""
        now, then = self.measurement, self.then
        low, high = now.interval_us
        return [
            f"budget    {milliseconds(then.budget_us)}",
            f"recorded  {milliseconds(then.measured_us)}, upper end "
            f"{milliseconds(then.measured_interval_us[1])}",
            f"measured  {milliseconds(now.median_us)} ({milliseconds(low)} to "
            f"{milliseconds(high)}), p90 {milliseconds(now.p90_us)}, p99 {milliseconds(now.p99_us)}"
            f"{', noisy' if now.noisy else ''}",
        ]

    def require(self) -> None:
        """Raise where the budget is missed."""
        if not self.within_budget:
            raise BudgetMissedError(
                f"The build takes {milliseconds(self.measurement.upper_us)} at the upper end of "
                f"its interval; its budget is {milliseconds(self.then.budget_us)}. "
                "Measure again on a quiet machine, or build for this machine as it is now."
            )


def verified(folder: Path, unverified: bool) -> str | None:
    """Refuse a build that is changed or not verified; what to say where it is let pass.

    Raises:
        UsageError: it is no build, or its files were changed.
        VerificationError: as `require_verified`.
    """
    check_files(folder, read_manifest(folder))
    return require_verified(folder, unverified)


def bench(folder: Path, options: Options, target: str | None, progress: Progress) -> Benched:
    """Measure a build's network anew, in fresh processes, under the profiling protocol."""
    manifest, model = open_build(folder)
    device = get_target(target or manifest.target)
    make_home(options.home)
    random = np.random.default_rng(0)
    progress.start(f"measuring {folder.name} on {device}", WHOLE_PROTOCOL.rounds)
    with CostStore(options.costs) as store:
        table = profile(
            [model],
            device,
            store=store,
            protocol=WHOLE_PROTOCOL,
            inputs=lambda m: {m.inputs[0].name: random.standard_normal(m.inputs[0].shape, "f4")},
            progress=lambda p: progress.update(p.done),
            fresh=True,
        )
    progress.finish()
    return Benched(manifest, table.cost(model).raw, str(device))


def recorded_network(
    folder: Path, manifest: Manifest, options: Options, progress: Progress
) -> tuple[Design, DesignedNetwork]:
    """What a build's network is made of, and the torch network with the build's own weights.

    Raises:
        UsageError, ZooError: as `recorded_design`, or the weights do not fit.
    """
    try:
        tensors = load(read_file(folder, _WEIGHTS, MOST_WEIGHTS))
    except (UsageError, SafetensorError) as error:
        raise _unfit(folder, error) from error
    design, zoo = recorded_design(folder, manifest, options, progress)
    donors = Donors(zoo)
    if isinstance(design, Recipe):
        design = design_of(design, donors)
    network = build_design(design, donors)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise _unfit(folder, error) from error
    return design, network


def _unfit(folder: Path, error: Exception) -> ZooError:
    return ZooError(
        f"The weights of {folder} do not fit the network that its manifest describes: "
        f"{str(error).splitlines()[0].rstrip('.')}. Build again, or restore {_WEIGHTS}."
    )


def recorded_design(
    folder: Path,
    manifest: Manifest,
    options: Options,
    progress: Progress,
    weights: Weights = "pretrained",
) -> tuple[Design, Zoo]:
    """What a build's network is made of, and the donors that lend its parts.

    Args:
        folder: the build, for messages.
        manifest: what it says of itself.
        options: their zoo is used, and the build's own where they name none.
        progress: told about whatever has to be fetched.
        weights: of a recipe's models that are not in the zoo.

    Raises:
        UsageError, ZooError: as `open_zoo` and `open_recipe_zoo`.
    """
    text, said = options.zoo or _without_code(folder, manifest), manifest.network
    if said.recipe is None:
        segments = tuple(Segment(s.model, s.start, s.end) for s in said.segments)
        return Blueprint(said.input_size, segments), open_zoo(options.home, text, progress)
    recipe = Recipe.from_json(json.dumps(said.recipe), f"The recipe in {folder / NAME}")
    return open_recipe_zoo(recipe, options.home, text, weights, progress)


def _without_code(folder: Path, manifest: Manifest) -> str | None:
    """The zoo that a build names; a build may come from anybody, so that it cannot name code."""
    named = [part.strip().partition("=")[0] for part in (manifest.zoo or "").split(",")]
    named += [segment.model for segment in manifest.network.segments]
    for name in named:
        if is_user_code(name):
            raise UsageError(
                f"The build {folder} names code as a donor, {name!r:.80}. Code is run where you "
                "name it, and not where a file does: look at it, and give the donors by --zoo."
            )
    return manifest.zoo
