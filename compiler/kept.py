"""Kept or not: a budget beside what was measured of a candidate."""

from collections.abc import Sequence

from compiler.candidates import Candidate
from targets.amounts import amount_text, enough_text, words
from targets.budget import LATENCY, Budget, latency_on, target_of

WEIGHTS, MEMORY, ENERGY = "weight_bytes", "memory_bytes", "energy_j"
SCARCE = (MEMORY, ENERGY)
"""Resources whose prediction is corrected by what candidates really took."""

_MEASURED = (LATENCY, WEIGHTS, *SCARCE)


def measured(
    candidate: Candidate, resources: Sequence[str] | None = None
) -> tuple[tuple[str, float], ...]:
    """What was measured of a candidate, by resource; without those that nobody could measure.

    Args:
        candidate: that was measured.
        resources: which; None: all, the latency on every target among them.
    """
    if resources is None:
        resources = (*_MEASURED, *(latency_on(target) for target, _ in candidate.elsewhere))
    found = ((name, _amount(candidate, name)) for name in resources)
    return tuple((name, amount) for name, amount in found if amount is not None)


def keeps(limits: Budget, candidate: Candidate) -> bool:
    """Whether everything that was measured of a candidate is within the limits."""
    return not missed(limits, candidate)


def missed(limits: Budget, candidate: Candidate, here: str = "") -> list[str]:
    """The limits that a candidate misses, each with what it took, in words.

    `here` is the target searched for, where there are others.
    """
    found = []
    for name, limit in limits.amounts():
        amount = _amount(candidate, name)
        if amount is not None and amount > limit:
            took, asked = enough_text(name, amount), amount_text(name, limit)
            found.append(f"its {words(name, here)} is {took}, asked for: {asked}")
    least, score = limits.min_quality, candidate.judged.score
    if least is not None and score < least:
        found.append(f"its quality is {100 * score:.1f} %, asked for: {100 * least:.4g} %")
    int8 = candidate.judged.int8
    return found if int8 is None else [*found, *int8.faults]


def chosen_by(limits: Budget, candidate: Candidate) -> float | None:
    """What is more for a better candidate; None: its quality is."""
    return None if limits.min_quality is None else -candidate.latency.upper_us


def _amount(candidate: Candidate, resource: str) -> float | None:
    """The upper end of the latency, the largest peak of memory, the mean energy; None: unknown."""
    latency, target = candidate.latency, target_of(resource)
    if target is not None:
        return candidate.on(target).upper_us
    if resource == LATENCY:
        return latency.upper_us
    if resource == WEIGHTS:
        return float(candidate.model.weight_bytes)
    amount = {MEMORY: latency.peak_bytes, ENERGY: latency.joules}.get(resource)
    return None if amount is None else float(amount)
