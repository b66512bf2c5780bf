"""`derycc store check`: a handful of a zoo's blocks measured again, beside what the store says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.model import ExportedModel
from compiler.progress import Progress
from compiler.workbench import Workbench
from derycc.session import Options, open_workbench
from profilers.environment import Environment
from profilers.measurement import Measurement
from profilers.profile import profile
from profilers.store import CostStore
from profilers.surroundings import capture
from profilers.validity import Validity, compare, probes
from targets.errors import StaleCostsError, UsageError
from targets.scratch import scratch_folder
from targets.target import Target


@dataclass(frozen=True, slots=True)
class Checked:
    """A store's blocks measured again.

    Attributes:
        environment: Where, now as then.
        validity: What came of it.
    """

    environment: Environment
    validity: Validity

    def data(self) -> dict[str, Any]:
        """For `--json`."""
        found = self.validity
        return {
            "environment": self.environment.fingerprint,
            "verdict": found.verdict,
            "ratio": found.ratio,
            "interval": found.interval,
            "blocks": [
                {
                    "name": shift.then.name,
                    "key": shift.then.key,
                    "then_us": shift.then.median_us,
                    "now_us": shift.now.median_us,
                    "ratio": shift.ratio,
                    "interval": shift.interval,
                    "moved": shift.moved,
                    "noise": shift.now.noise,
                }
                for shift in found.shifts
            ],
        }

    def require(self) -> None:
        """Raises where the store's measurements do not hold any more, or that cannot be told."""
        if self.validity.verdict != "valid":
            text = self.validity.text
            raise StaleCostsError(f"The costs of {self.environment.target!r}: {text}.")


def check(options: Options, blocks: int, progress: Progress) -> Checked:
    """Measures some blocks of a zoo again, from fast to slow; the store stays as it is.

    Args:
        options: As `derycc profile` was given them.
        blocks: How many.
        progress: Told after every measurement.

    Raises:
        UsageError: Nothing of this zoo was measured in this environment; the message says how the
            environment differs from the nearest in which something was.
    """
    with open_workbench(options, progress, dry=True) as bench:
        environment = capture(bench.target)
        wanted = bench.wanted
        keys = {part.key for donor in wanted.donors.values() for part in donor.chain}
        known = bench.store.measurements(environment, keys)
        if not known:
            raise _nothing(bench.store, environment, bench.target)
        chosen = probes(known, blocks)
        models = bench.profile.models(wanted, wanted.keys - set(chosen))
        rounds = bench.settings.protocol.rounds
        progress.start(f"measuring {len(models)} blocks again", len(models) * rounds)
        with scratch_folder() as folder:
            now = _measured(bench, models, folder / "now.sqlite")
        progress.finish()
    return Checked(environment, compare({key: known[key] for key in chosen}, now))


def _measured(
    bench: Workbench, models: list[ExportedModel], store: Path
) -> Mapping[str, Measurement]:
    """The models as they are now, as the clock gives them, in a store of their own."""
    with CostStore(store) as fresh:
        table = profile(
            models,
            bench.target,
            store=fresh,
            protocol=bench.settings.protocol,
            progress=lambda step: bench.progress.update(step.done, step.name),
        )
    return {key: cost.raw for key, cost in table.costs.items()}


def _nothing(store: CostStore, here: Environment, target: Target) -> UsageError:
    """Why there is nothing to check, with the nearest environment in which something is."""
    others = [other for other in store.environments() if other.backend == here.backend]
    said = f"The cost store has none of these donors' blocks on {str(target)!r} in this environment"
    if not others:
        return UsageError(f"{said}. Run 'derycc profile' with the same options first.")
    nearest = min(others, key=lambda other: len(here.differences(other)))
    differences = "; ".join(here.differences(nearest)) or "none: other donors were measured"
    return UsageError(
        f"{said}. The nearest environment that it knows is {nearest.fingerprint} "
        f"({nearest.target}); differences: {differences}. Measurements of different environments "
        f"are never mixed: run 'derycc profile' here, or check where those were made."
    )
