"""Sweeping: the same zoo under a row of budgets, beside the donors alone."""

from dataclasses import dataclass, replace

import numpy as np

from compiler.belief import Belief
from compiler.candidates import Candidate
from compiler.donors import Donors
from compiler.kept import chosen_by, keeps
from compiler.network import Blueprint
from compiler.workbench import Workbench
from derycc.alone import counts_keep
from derycc.building import Built, Request, build, limits
from derycc.chance import chance_warning
from targets.budget import Budget
from targets.errors import REFUSALS

BELOW_FASTEST = 0.9
"""The tightest budget of a default sweep, as a share of the fastest donor's latency."""

HEADROOM = 1.02
"""Budgets are this much above what is predicted of the network that they are made for."""


@dataclass(frozen=True, slots=True)
class Point:
    """One budget of a sweep.

    Attributes:
        budget: as `--latency` takes it.
        built: the answer, or None.
        refusal: why there is none.
        exit_code: what `derycc build` ends with at this budget.
        best_donor: of the donors alone that keep all limits at this budget, the one that a build
            would choose; None: there is none.
        warnings: why the answer should not be used as it is.
    """

    budget: str
    built: Built | None
    refusal: str | None = None
    exit_code: int = 0
    best_donor: Candidate | None = None
    warnings: tuple[str, ...] = ()


def donors_alone(bench: Workbench) -> tuple[Candidate, ...]:
    """Every donor at its own input size, measured and judged whole, fastest first."""
    bench.progress.start("judging and measuring the donors alone", len(bench.zoo))
    found = []
    for done, model in enumerate(bench.zoo):
        bench.progress.update(done, model.name)
        blueprint = Blueprint.pure(model.name, model.preprocessing.input_size)
        found.append(bench.candidates.make(blueprint))
    bench.progress.finish()
    return tuple(sorted(found, key=lambda candidate: candidate.latency.median_us))


def default_budgets(
    bench: Workbench, request: Request, alone: tuple[Candidate, ...], points: int
) -> tuple[str, ...]:
    """Budgets from below the fastest donor to just above the slowest, evenly in ratio.

    The first is one that no whole donor keeps, unless not even stitched networks are predicted to
    be that fast; then it is what the fastest of these needs.
    """
    fastest = (
        bench.loop(bench.belief())
        .fastest(limits(replace(request, latency=None), bench))
        .cost("latency_us")
        * HEADROOM
    )
    first = max(fastest, alone[0].latency.median_us * BELOW_FASTEST)
    last = max(candidate.latency.upper_us for candidate in alone) * HEADROOM
    return tuple(f"{us / 1000:.4g}ms" for us in np.geomspace(first, last, points))


def sweep(
    bench: Workbench,
    request: Request,
    budgets: tuple[str, ...],
    alone: tuple[Candidate, ...] = (),
) -> tuple[Point, ...]:
    """Build for every budget; what the loop learns at one helps at the next.

    A budget that has no answer, or one whose engine is not what it should be, does not stop the
    others.

    Args:
        bench: the zoo on its target.
        request: what is asked for besides latency.
        budgets: as `--latency` takes them.
        alone: the donors, measured whole.
    """
    belief = bench.belief()
    return tuple(_point(bench, request, text, belief, alone) for text in budgets)


def _point(
    bench: Workbench,
    request: Request,
    text: str,
    belief: Belief,
    alone: tuple[Candidate, ...],
) -> Point:
    asked = replace(request, latency=text)
    donor = best_donor(alone, limits(asked, bench), bench.donors)
    try:
        built = build(asked, bench, belief)
    except REFUSALS as error:
        bench.progress.finish(f"nothing built for {text}")
        return Point(text, None, str(error), error.exit_code, donor)
    blueprint = built.candidate.blueprint
    last = bench.donors.dissection(blueprint.segments[-1].model, blueprint.input_size).cuts[-1]
    warning = chance_warning(built.candidate.judged, last.tensor.shape[-1])
    return Point(text, built, best_donor=donor, warnings=() if warning is None else (warning,))


def best_donor(alone: tuple[Candidate, ...], asked: Budget, donors: Donors) -> Candidate | None:
    """Of the donors that keep all limits as they were measured whole, what a build would choose.

    That is the best on the calibration photographs or, where a least quality is asked for, the
    fastest.
    """
    within = [
        donor
        for donor in alone
        if keeps(asked, donor) and counts_keep(asked, donor.blueprint, donors)
    ]
    return max(within, key=lambda donor: _worth(donor, asked)) if within else None


def _worth(donor: Candidate, asked: Budget) -> float:
    chosen = chosen_by(asked, donor)
    return donor.judged.score if chosen is None else chosen
