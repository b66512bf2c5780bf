"""Kept or not: a budget beside what was measured of a candidate."""

from collections.abc import Sequence

from compiler.candidates import Candidate
from targets.amounts import WORDS, amount_text, enough_text
from targets.budget import Budget

LATENCY, WEIGHTS, MEMORY, ENERGY = "latency_us", "weight_bytes", "memory_bytes", "energy_j"
SCARCE = (MEMORY, ENERGY)
"""Resources whose prediction is corrected by what candidates really took."""

_MEASURED = (LATENCY, WEIGHTS, *SCARCE)


def measured(
    candidate: Candidate, resources: Sequence[str] = _MEASURED
) -> tuple[tuple[str, float], ...]:
    """What was measured of a candidate, by resource; without those that nobody could measure."""
    found = ((name, _amount(candidate, name)) for name in resources)
    return tuple((name, amount) for name, amount in found if amount is not None)


def keeps(limits: Budget, candidate: Candidate) -> bool:
    """Whether everything that was measured of a candidate is within the limits."""
    return not missed(limits, candidate)


def missed(limits: Budget, candidate: Candidate) -> list[str]:
    """The limits that a candidate misses, each with what it took, in words."""
    found = []
    for name, limit in limits.amounts():
        amount = _amount(candidate, name) if name in _MEASURED else None
        if amount is not None and amount > limit:
            took, asked = enough_text(name, amount), amount_text(name, limit)
            found.append(f"its {WORDS[name]} is {took}, asked for: {asked}")
    least, score = limits.min_quality, candidate.judged.score
    if least is not None and score < least:
        found.append(f"its quality is {100 * score:.1f} %, asked for: {100 * least:.4g} %")
    return found


def chosen_by(limits: Budget, candidate: Candidate) -> float | None:
    """What is more for a better candidate; None: its quality is."""
    return None if limits.min_quality is None else -candidate.latency.upper_us


def _amount(candidate: Candidate, resource: str) -> float | None:
    """The upper end of the latency, the largest peak of memory, the mean energy."""
    latency = candidate.latency
    if resource == LATENCY:
        return latency.upper_us
    if resource == WEIGHTS:
        return float(candidate.model.weight_bytes)
    return None if (amount := _scarce(candidate, resource)) is None else float(amount)


def _scarce(candidate: Candidate, resource: str) -> float | None:
    latency = candidate.latency
    return latency.peak_bytes if resource == MEMORY else latency.joules
