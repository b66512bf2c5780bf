"""Papers: what a manifest says of what was asked for, predicted and measured of every resource."""

from compiler.believed import Believed
from compiler.kept import measured
from compiler.precisions import FLOAT
from compiler.recipe_plan import RecipePlan
from derycc.building import Built, Request
from derycc.by_hand import HandBuilt, HandRequest
from derycc.manifest_asked import Beliefs, Constraint, Demands, Session
from derycc.session import Options
from targets.budget import RESOURCES, Budget, latency_on


def constraints(built: Built | HandBuilt, plan: RecipePlan) -> tuple[Constraint, ...]:
    """Every resource, asked, predicted and measured side by side."""
    if isinstance(built, Built):
        limits, predicted = built.limits, _predicted(built)
    else:
        limits, predicted = Budget(latency_us=built.budget_us), {}
    asked = {**dict(limits.amounts()), "donors": limits.donors}
    found = {**dict(measured(built.candidate)), **_counted(plan)}
    return tuple(
        Constraint(name, asked.get(name), predicted.get(name), found.get(name))
        for name in (*_resources(limits), "donors")
    )


def _resources(limits: Budget) -> tuple[str, ...]:
    """All resources, with the latency on every target."""
    first, *others = RESOURCES
    return (first, *(latency_on(target) for target, _ in limits.elsewhere), *others)


def _predicted(built: Built) -> dict[str, float]:
    """The costs of the answer, as far as the solver looked at them."""
    answer = dict(built.trial.assembly.costs)
    believed = built.trial.believed
    for name, factor in believed.excess if believed else ():
        answer[name] = answer.get(name, 0.0) * factor
    known = _resources(built.limits)
    found = {name: answer[name] for name in known if answer.get(name) is not None}
    return {**found, "donors": float(len(built.candidate.blueprint.donors))}


def _counted(plan: RecipePlan) -> dict[str, float]:
    """What needs no measurement."""
    return {
        "stitches": float(len(plan.stitches)),
        "params": float(plan.params),
        "macs": float(plan.macs),
        "donors": float(len({run.segment.model for run in plan.runs})),
    }


def demands(built: Built | HandBuilt, request: Request | HandRequest) -> Demands | None:
    """What else was asked for; None of a network that was written down."""
    if not isinstance(built, Built) or not isinstance(request, Request):
        return None
    asked = built.limits
    return Demands(asked.min_quality, asked.required, asked.excluded, request.licences)


def session(options: Options, sizes: tuple[int, ...]) -> Session:
    """The options that an answer depends on."""
    data, judge = options.data, options.judge_data
    return Session(
        sizes=sizes,
        views=options.views,
        quick=options.quick,
        data=None if data is None else str(data.resolve()),
        judge_data=None if judge is None else str(judge.resolve()),
        precision=options.precision,
        max_drop=None if options.precision == FLOAT else options.max_drop,
    )


def beliefs(built: Built | HandBuilt) -> Beliefs | None:
    """What the chosen network was predicted by."""
    believed = built.trial.believed if isinstance(built, Built) else None
    return None if believed is None else noted_beliefs(believed)


def noted_beliefs(believed: Believed) -> Beliefs:
    """A belief of the loop as a manifest has it."""
    return Beliefs(
        drop_slope=None,
        observations=believed.drops.observations,
        stitch_us=believed.residual.median_us,
        stitch_upper_us=believed.residual.upper_us,
        excess=dict(believed.excess),
        elsewhere={target: (one.median_us, one.upper_us) for target, one in believed.elsewhere},
        drop_weights=believed.drops.named,
        drop_error=believed.drops.error,
        int8_latency=believed.int8.latency,
        int8_errors=dict(believed.int8.errors),
        int8_barred=believed.int8.barred,
    )
