"""Donors alone: what each would give by itself, as the profile and the photographs say."""

from dataclasses import dataclass

from compiler.design import recipe_of
from compiler.donors import Donors
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.recipe_plan import plan_recipe
from compiler.workbench import Workbench
from targets.budget import Budget


@dataclass(frozen=True, slots=True)
class DonorAlone:
    """An uncut donor at one input size.

    Attributes:
        model: its name.
        size: pixels a side.
        latency: measured; None where a profile had no time for it.
        quality: on the calibration photographs.
        allowed: whether it is what was asked for, as far as that is known of a donor that was not
            built: by its latency on every target, its quality, its name, and what is counted of it.
            Bytes and energy are not known.
    """

    model: str
    size: int
    latency: Interval | None
    quality: float
    allowed: bool


def donors_alone(bench: Workbench, budget: Budget) -> tuple[DonorAlone, ...]:
    """Every donor at every input size that networks may have, fastest first."""
    found = []
    for (model, size), judged in bench.judged_donors.items():
        latency, *elsewhere = (
            one.latency_model.wholes.get((model, size)) for one in bench.everywhere
        )
        limits_us = (limit for _, limit in budget.elsewhere)
        allowed = (
            counts_keep(budget, Blueprint.pure(model, size), bench.donors)
            and judged.score >= (budget.min_quality or 0.0)
            and _within(latency, budget.latency_us)
            and all(map(_within, elsewhere, limits_us))
        )
        found.append(DonorAlone(model, size, latency, judged.score, allowed))
    return tuple(sorted(found, key=_order))


def counts_keep(budget: Budget, donor: Blueprint, donors: Donors) -> bool:
    """Whether a whole donor may be used, and has few enough parameters and MACs."""
    (name,) = donor.donors
    if name in budget.excluded or any(other != name for other in budget.required):
        return False
    if budget.params is None and budget.macs is None:
        return True
    plan = plan_recipe(recipe_of(donor, donors), donors)
    counted = ((plan.params, budget.params), (plan.macs, budget.macs))
    return all(most is None or count <= most for count, most in counted)


def _within(latency: Interval | None, limit_us: float | None) -> bool:
    return limit_us is None or (latency is not None and latency.upper_us <= limit_us)


def _order(donor: DonorAlone) -> tuple[bool, float, str]:
    latency = donor.latency
    return latency is None, latency.median_us if latency else 0.0, f"{donor.model}@{donor.size}"
