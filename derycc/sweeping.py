"""Sweeping: the same zoo under a row of budgets, beside the donors alone."""

from dataclasses import dataclass, replace

import numpy as np

from compiler.belief import Belief
from compiler.candidates import Candidate
from compiler.network import Blueprint
from compiler.workbench import Workbench
from derycc.building import Built, Request, budget_us, build, named
from targets.errors import BudgetMissedError, InfeasibleError

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
        best_donor: of the donors alone that keep this budget, the best on the calibration
            photographs; None: there is none.
    """

    budget: str
    built: Built | None
    refusal: str | None = None
    exit_code: int = 0
    best_donor: Candidate | None = None


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
        bench.loop(bench.belief()).fastest(named(request, bench)).cost("latency_us") * HEADROOM
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
    donor = best_donor(alone, budget_us(text, bench))
    try:
        built = build(replace(request, latency=text), bench, belief)
    except (InfeasibleError, BudgetMissedError) as error:
        return Point(text, None, str(error), error.exit_code, donor)
    return Point(text, built, best_donor=donor)


def best_donor(alone: tuple[Candidate, ...], limit_us: float) -> Candidate | None:
    """Of the donors that keep a latency as they were measured whole, the best on calibration."""
    within = [donor for donor in alone if donor.latency.upper_us <= limit_us]
    return max(within, key=lambda donor: donor.judged.score) if within else None
