"""Donors alone: what each would give by itself, as the profile and the photographs say."""

from dataclasses import dataclass

from compiler.latency_model import Interval
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
        allowed: whether it is within the budget's latency and quality, and not excluded.
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
            model not in budget.excluded
            and judged.score >= (budget.min_quality or 0.0)
            and _within(latency, budget.latency_us)
            and all(map(_within, elsewhere, limits_us))
        )
        found.append(DonorAlone(model, size, latency, judged.score, allowed))
    return tuple(sorted(found, key=_order))


def _within(latency: Interval | None, limit_us: float | None) -> bool:
    return limit_us is None or (latency is not None and latency.upper_us <= limit_us)


def _order(donor: DonorAlone) -> tuple[bool, float, str]:
    latency = donor.latency
    return latency is None, latency.median_us if latency else 0.0, f"{donor.model}@{donor.size}"
