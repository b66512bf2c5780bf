"""By hand: a network that a recipe describes, all the way to a verified engine.

It goes the way of a network that a search found: built and fitted as far as that is possible,
judged on photographs, measured whole, and verified. Only nothing is searched for or predicted.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from compiler.candidates import Candidate
from compiler.design import design_of
from compiler.donors import Donors
from compiler.network import Blueprint
from compiler.precisions import INT8
from compiler.progress import Progress
from compiler.recipe import Recipe
from compiler.recipe_plan import plan_recipe
from compiler.recipe_zoo import Weights, open_recipe_zoo
from compiler.verification import Verification
from compiler.workbench import Workbench
from derycc.building import measured_share_us, verified
from derycc.console import milliseconds
from derycc.manifest_asked import Replayed
from derycc.precision import with_precision
from derycc.session import Options, make_home, open_workbench
from targets.budget import Latency, parse_latency
from targets.errors import BudgetMissedError


@dataclass(frozen=True, slots=True)
class HandRequest:
    """What a build by hand is asked for.

    Attributes:
        recipe: the name or path of the recipe.
        latency: the budget as the user wrote it; None: there is none.
        weights: of donors that are not in the zoo.
    """

    recipe: str
    latency: str | None = None
    weights: Weights = "pretrained"


@dataclass(frozen=True, slots=True)
class HandBuilt:
    """A finished build by hand: the network, measured and verified.

    Attributes:
        budget_us: the latency budget in microseconds; None: there is none.
        candidate: the network with its measurement.
        verification: that its engine computes what it should.
        recipe: what was written down, under the donors' full names.
        replayed: how it compares with the lock that it was read from; None: it was none.
    """

    budget_us: float | None
    candidate: Candidate
    verification: Verification
    recipe: Recipe
    replayed: Replayed | None = None


@contextmanager
def open_recipe_bench(
    recipe: Recipe, request: HandRequest, options: Options, progress: Progress, dry: bool = False
) -> Iterator[tuple[Recipe, Workbench]]:
    """A recipe under its donors' full names, and a workbench over these.

    Raises:
        UsageError, ZooError, DataError: as `open_recipe_zoo` and `open_workbench`.
    """
    if not dry or options.home.exists():
        make_home(options.home)
    named, zoo = open_recipe_zoo(recipe, options.home, options.zoo, request.weights, progress)
    sized = replace(options, sizes=(named.input_size,))
    with open_workbench(sized, progress, dry, zoo) as bench:
        yield named, bench


def build_by_hand(
    recipe: Recipe,
    request: HandRequest,
    bench: Workbench,
    int8: Sequence[tuple[int, str, str]] = (),
) -> HandBuilt:
    """Build, judge, measure and verify a recipe's network.

    Args:
        recipe: the network.
        request: what it is asked to keep.
        bench: its donors.
        int8: its parts in int8, as a lock has them.

    Raises:
        UsageError: the target does not run int8.
        BudgetMissedError: there is a budget, and the upper end of the measured latency is above.
        VerificationError: the engine does not compute what the network computes.
    """
    bench.progress.start("building and measuring the network of the recipe", None)
    design = design_of(recipe, bench.donors)
    if int8:
        with_precision(bench.target, INT8)
        assert isinstance(design, Blueprint), "only a search puts blocks in int8"
        design = design.with_int8(int8)
    candidate = bench.candidates.confirm(design)
    bench.progress.finish()
    limit = None if request.latency is None else _budget_us(request.latency, bench)
    if limit is not None and candidate.latency.upper_us > limit:
        raise BudgetMissedError(_missed(limit, candidate))
    return HandBuilt(limit, candidate, verified(candidate, bench), recipe)


def plan_by_hand(recipe: Recipe, bench: Workbench, folder: Path) -> list[str]:
    """What a build by hand would do; measures nothing."""
    plan = plan_recipe(recipe, Donors(bench.zoo, shapes_only=True))
    untrained = f" Untrained: {', '.join(plan.untrained)}." if plan.untrained else ""
    return [
        f"Recipe: {recipe}.",
        f"{plan.params:,} parameters, {plan.macs / 1e6:,.1f} M MACs.{untrained}",
        f"Would build it, judge it on photographs, and measure and verify it on {bench.target}.",
        f"Would write {folder}. Nothing was built (--dry-run).",
    ]


def hand_folder(out: Path | None, request: HandRequest, home: Path, target: str) -> Path:
    """Where the build goes: as asked, else under the home folder by target and recipe."""
    words = "".join(c if c.isalnum() or c == "." else " " for c in target).split()
    return out or home / "builds" / "-".join([*words, Path(request.recipe).stem])


def _budget_us(text: str, bench: Workbench) -> float:
    parsed = parse_latency(text)
    return parsed.us if isinstance(parsed, Latency) else measured_share_us(parsed, bench)


def _missed(limit_us: float, candidate: Candidate) -> str:
    latency = candidate.latency
    return (
        f"The network of the recipe takes {milliseconds(latency.median_us)}, "
        f"{milliseconds(latency.upper_us)} at the upper end of its 95 % interval"
        f"{' (a noisy measurement)' if latency.noisy else ''}, and {milliseconds(limit_us)} were "
        "asked for. Ask for that much, leave --latency out, or take out nodes."
    )
