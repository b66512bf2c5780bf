"""Checking a finished build: does its engine still compute, and still keep its budget?"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from backends.model import ExportedModel
from backends.registry import get_backend
from compiler.design import Design, DesignedNetwork, build_design, design_of
from compiler.donors import Donors
from compiler.network import Blueprint, Segment
from compiler.progress import Progress
from compiler.recipe import Recipe
from compiler.recipe_zoo import Weights, open_recipe_zoo
from compiler.verification import Verification, verify
from compiler.zoo import Zoo, open_zoo
from derycc.console import milliseconds, percent
from derycc.manifest import NAME, Latency, Manifest, check_files, read_manifest
from derycc.manifest_targets import OnTarget
from derycc.session import (
    DEMO_PHOTOGRAPHS,
    WHOLE_PROTOCOL,
    Options,
    make_home,
    open_photographs,
)
from profilers.measurement import Measurement
from profilers.profile import profile
from profilers.store import CostStore
from targets.errors import BudgetMissedError, VerificationError, ZooError
from targets.target import get_target


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


def verification_line(verification: Verification) -> str:
    """The result in one line."""
    verdict = "passed" if verification.passed else "FAILED"
    return (
        f"{verdict}: {verification.images} photographs, least cosine {verification.cosine:.7f} "
        f"(gate {verification.gate}), largest difference {verification.max_abs_error:.2g}, top-1 "
        f"agreement {percent(verification.top1_agreement)}"
    )


def require(verification: Verification) -> None:
    """Raise where the engine does not compute what the network computes."""
    if not verification.passed:
        raise VerificationError(
            "The engine of this build does not compute what its network computes. Do not deploy "
            "it; build it again with this runtime."
        )


def bench(folder: Path, options: Options, target: str | None, progress: Progress) -> Benched:
    """Measure a build's network anew, in fresh processes, under the profiling protocol."""
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    device = get_target(target or manifest.target)
    model = ExportedModel.load(folder / "model.onnx")
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


def verify_build(folder: Path, options: Options, progress: Progress) -> Verification:
    """Compare a build's engine with its torch network, rebuilt from the donors' architectures.

    Of several targets' engines the one that differs most counts.

    Raises:
        UsageError: the folder is no build, or its files were changed.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    targets = [get_target(one.target) for one in manifest.targets[1:]]
    targets.insert(0, get_target(manifest.target))
    make_home(options.home)
    network = recorded_network(folder, manifest, options, progress)
    images = open_photographs(_recorded(options, manifest), progress).held_out
    model = ExportedModel.load(folder / "model.onnx")
    found = []
    for target in targets:
        progress.start(f"verifying on {target} with {len(images)} photographs", None)
        with get_backend(target.backend).compile(model, target) as engine:
            verification = verify(network, engine, images)
        found.append(replace(verification, gate=manifest.verified.gate))
        progress.finish()
    return min(found, key=lambda one: (one.passed, one.cosine))


def _recorded(options: Options, manifest: Manifest) -> Options:
    """The options, with the photographs that the build was made with where none are named."""
    source = Path(manifest.data.source)
    if options.data is None and manifest.data.source != DEMO_PHOTOGRAPHS and source.exists():
        return replace(options, data=source)
    return options


def recorded_network(
    folder: Path, manifest: Manifest, options: Options, progress: Progress
) -> DesignedNetwork:
    """A build's torch network, with the weights that lie beside its engine.

    Raises:
        UsageError, ZooError: as `recorded_design`, or the weights do not fit.
    """
    design, zoo = recorded_design(folder, manifest, options, progress)
    donors = Donors(zoo)
    if isinstance(design, Recipe):
        design = design_of(design, donors)
    network = build_design(design, donors)
    try:
        network.load_state_dict(load_file(folder / "network.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ZooError(
            f"The weights of {folder} do not fit the network that its manifest describes: "
            f"{str(error).splitlines()[0]}. Build again, or restore network.safetensors."
        ) from error
    return network


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
    text, said = options.zoo or manifest.zoo, manifest.network
    if said.recipe is None:
        segments = tuple(Segment(s.model, s.start, s.end) for s in said.segments)
        return Blueprint(said.input_size, segments), open_zoo(options.home, text, progress)
    recipe = Recipe.from_json(json.dumps(said.recipe), f"The recipe in {folder / NAME}")
    return open_recipe_zoo(recipe, options.home, text, weights, progress)
