"""Papers: the manifest of a build, from what was built, promised and measured."""

from dataclasses import asdict
from importlib.metadata import version

from backends.registry import get_backend
from compiler.design import recipe_of
from compiler.quality import Quality as Measured
from compiler.recipe import Recipe
from compiler.recipe_plan import RecipePlan, plan_recipe
from compiler.trial import Trial
from compiler.workbench import Workbench
from derycc import __version__, manifest
from derycc.building import Built, Request
from derycc.by_hand import HandBuilt, HandRequest
from derycc.chance import chance_warning
from derycc.dery import describe_dery, finite
from derycc.doctor import REQUIRED
from derycc.manifest_asked import Choice
from derycc.papers_asked import beliefs, constraints, demands, session
from derycc.papers_loop import rounds
from derycc.papers_precision import offers_line, precision_of
from derycc.papers_targets import on_targets
from derycc.session import DEMO_PHOTOGRAPHS, Options, caution, labelled
from profilers.environment import Environment

AnyBuilt = Built | HandBuilt
AnyRequest = Request | HandRequest


def describe(
    built: AnyBuilt, request: AnyRequest, options: Options, bench: Workbench
) -> manifest.Manifest:
    """The manifest of a build, but for the hashes of its files."""
    environment = _environment(built, bench)
    plan = plan_recipe(built_recipe(built, bench), bench.donors)
    return manifest.Manifest(
        format=manifest.FORMAT,
        derycc=__version__,
        versions=versions(),
        target=str(bench.target),
        environment=environment.fingerprint,
        machine=asdict(environment),
        budget=request.latency,
        zoo=options.zoo,
        network=_network(built, plan, bench),
        donors=_donors(built, bench),
        latency=_latency(built),
        quality=_quality(built, bench),
        solver=_solver(built.trial) if isinstance(built, Built) else None,
        tried=tuple(map(_tried, built.trials)) if isinstance(built, Built) else (),
        verified=manifest.Verified(**asdict(built.verification), passed=built.verification.passed),
        data=_data(options, bench),
        files={},
        dery=describe_dery(built.dery) if isinstance(built, Built) and built.dery else None,
        constraints=constraints(built, plan),
        demands=demands(built, request),
        session=session(options, bench.settings.sizes),
        beliefs=beliefs(built),
        targets=on_targets(built, request, environment.fingerprint, bench),
        certificate=built.certificate if isinstance(built, Built) else None,
        rounds=rounds(built.trials) if isinstance(built, Built) else (),
        warnings=_warnings(built, plan),
        choice=_choice(built),
        replayed=built.replayed if isinstance(built, HandBuilt) else None,
        precision=precision_of(built.candidate, built.verification, bench),
        int8=offers_line(bench.int8_offers) if isinstance(built, Built) else None,
    )


def _warnings(built: AnyBuilt, plan: RecipePlan) -> tuple[str, ...]:
    """Of a network that is untrained its chance is known, and said elsewhere."""
    warning = chance_warning(built.candidate.judged, plan.recipe.classes, isinstance(built, Built))
    return () if warning is None or plan.untrained else (warning,)


def versions() -> dict[str, str]:
    """Of this program and of the packages that matter."""
    return {"derycc": __version__, **{name: version(name) for name in REQUIRED}}


def _environment(built: AnyBuilt, bench: Workbench) -> Environment:
    """What was measured in; without a search, the zoo's own table need not be."""
    if isinstance(built, Built):
        return bench.table.environment
    return Environment.capture(bench.target, get_backend(bench.target.backend))


def _quality(built: AnyBuilt, bench: Workbench) -> manifest.Quality:
    judged = built.candidate.judged
    return manifest.Quality(
        expected=built.trial.expected if isinstance(built, Built) else None,
        calibration=_score(judged.calibration),
        chosen_by=judged.score,
        held_out=_score(judged.held_out),
        reference=bench.reference,
    )


def _data(options: Options, bench: Workbench) -> manifest.Data:
    photographs = bench.photographs
    return manifest.Data(
        calibration=len(photographs.calibration),
        held_out=len(photographs.held_out),
        labelled=labelled(photographs.held_out),
        source=DEMO_PHOTOGRAPHS if options.data is None else str(options.data.resolve()),
        digest=photographs.digest,
        caution=caution(photographs),
    )


def built_recipe(built: AnyBuilt, bench: Workbench) -> Recipe:
    """The network as a recipe: as it was written down, or what the search found."""
    if isinstance(built, HandBuilt):
        return built.recipe
    return recipe_of(built.candidate.blueprint, bench.donors)


def _network(built: AnyBuilt, plan: RecipePlan, bench: Workbench) -> manifest.Network:
    wants = bench.donors.preprocessing(plan.recipe.segments[0].model, plan.recipe.input_size)
    return manifest.Network(
        input_size=plan.recipe.input_size,
        segments=tuple(manifest.Segment(run.segment.model, *run.cut_names) for run in plan.runs),
        stitches=tuple(shape.describe() for shape in plan.stitches),
        params=plan.params,
        crop=wants.crop,
        interpolation=wants.interpolation,
        mean=wants.mean,
        std=wants.std,
        recipe=built.recipe.content() if isinstance(built, HandBuilt) else None,
        untrained=plan.untrained,
    )


def _donors(built: AnyBuilt, bench: Workbench) -> tuple[manifest.Donor, ...]:
    models = [bench.donors.model(name) for name in built.candidate.design.donors]
    return tuple(manifest.Donor(m.name, m.source, m.licence, m.weights_sha256) for m in models)


def _latency(built: AnyBuilt) -> manifest.Latency:
    measured = built.candidate.latency
    predicted = built.trial.predicted if isinstance(built, Built) else None
    budget_us = built.budget_us
    return manifest.Latency(
        budget_us=budget_us,
        predicted_us=predicted.median_us if predicted else None,
        predicted_upper_us=predicted.upper_us if predicted else None,
        measured_us=measured.median_us,
        measured_interval_us=measured.interval_us,
        p90_us=measured.p90_us,
        p99_us=measured.p99_us,
        samples=measured.n,
        noisy=measured.noisy,
        within_budget=budget_us is None or measured.upper_us <= budget_us,
    )


def _choice(built: AnyBuilt) -> Choice | None:
    chosen = built.choice if isinstance(built, Built) else None
    return None if chosen is None else Choice(**{**asdict(chosen), "value": finite(chosen.value)})


def _score(quality: Measured) -> manifest.Score:
    return manifest.Score(quality.images, quality.top1, quality.top5, quality.agreement)


def _solver(trial: Trial) -> manifest.Solver:
    answer = trial.assembly
    assert answer.objective is not None
    return manifest.Solver(
        answer.solver,
        answer.status,
        answer.objective,
        answer.bound,
        answer.gap,
        answer.wall_s,
        answer.seed,
        trial.order,
    )


def _tried(trial: Trial) -> manifest.Tried:
    latency = trial.candidate.latency
    return manifest.Tried(
        network=str(trial.candidate.blueprint),
        predicted_us=trial.predicted.median_us,
        measured_us=latency.median_us,
        measured_upper_us=latency.upper_us,
        expected=trial.expected,
        quality=trial.quality,
        within_budget=trial.within,
        score=finite(trial.score),
    )
