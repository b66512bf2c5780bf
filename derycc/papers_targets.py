"""Papers: what a manifest and a lock file say of every target that a network was built for."""

from compiler.cache import digest
from compiler.latency_model import Interval
from compiler.workbench import Workbench
from derycc.building import Built, Request
from derycc.by_hand import HandBuilt, HandRequest
from derycc.manifest_targets import OnTarget
from profilers.measurement import Measurement


def on_targets(
    built: Built | HandBuilt, request: Request | HandRequest, here: str, bench: Workbench
) -> tuple[OnTarget, ...]:
    """Every target, the one that was searched for first; `here` is its environment."""
    searched = isinstance(built, Built)
    first = _on_target(
        (str(bench.target), here, costs_digest(bench) if searched else None),
        (request.latency, built.budget_us),
        built.trial.predicted if isinstance(built, Built) else None,
        built.candidate.latency,
        built.verification.cosine,
    )
    if not isinstance(built, Built) or not isinstance(request, Request):
        return (first,)
    predicted, cosine = dict(built.trial.elsewhere), dict(built.elsewhere)
    limits = dict(built.limits.elsewhere)
    others = [
        _on_target(
            (name, there.table.environment.fingerprint, costs_digest(there)),
            (one.latency, limits[name]),
            predicted[name],
            built.candidate.on(name),
            cosine[name].cosine,
        )
        for one, there in zip(request.also, bench.elsewhere, strict=True)
        for name in (str(there.target),)
    ]
    return (first, *others)


def locked_targets(bench: Workbench) -> list[dict[str, str]]:
    """What the answer followed from on every target, for the lock file."""
    return [
        {
            "target": str(one.target),
            "environment": one.table.environment.fingerprint,
            "cost_table": costs_digest(one),
        }
        for one in bench.everywhere
    ]


def costs_digest(bench: Workbench) -> str:
    """Changes with everything that was measured of the zoo on the workbench's own target."""
    return digest(sorted((key, cost.rounds) for key, cost in bench.table.costs.items()))


def _on_target(
    place: tuple[str, str, str | None],
    budget: tuple[str | None, float | None],
    predicted: Interval | None,
    measured: Measurement,
    cosine: float,
) -> OnTarget:
    (target, environment, costs), (text, limit_us) = place, budget
    return OnTarget(
        target=target,
        environment=environment,
        costs=costs,
        budget=text,
        budget_us=limit_us,
        predicted_us=predicted.median_us if predicted else None,
        predicted_upper_us=predicted.upper_us if predicted else None,
        measured_us=measured.median_us,
        measured_interval_us=measured.interval_us,
        noisy=measured.noisy,
        within=limit_us is None or measured.upper_us <= limit_us,
        cosine=cosine,
    )
