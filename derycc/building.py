"""Building: from a budget to a verified, measured engine in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backends.registry import get_backend
from compiler.belief import Belief
from compiler.candidates import Candidate
from compiler.certificate import Certificate
from compiler.closed_loop import ClosedLoop
from compiler.dery_bench import DeryAnswer, DerySettings
from compiler.design import has_int8
from compiler.effort import MAX_CANDIDATES, Effort
from compiler.kept import keeps, missed
from compiler.network import Blueprint
from compiler.refusal import asked_for
from compiler.scored_search import ScoredSearch
from compiler.scores import QUALITY, Choice, ScoredBench, check_score
from compiler.searched import Searched
from compiler.trial import Trial, ranked
from compiler.verification import IMAGES, Verification, gate_on, verify
from compiler.workbench import Workbench
from derycc.also import Also
from derycc.int8_gate import verified_int8
from derycc.precision import AUTO
from targets.amounts import amount_text, enough_text
from targets.budget import Budget, Latency, LatencyShare, parse_latency
from targets.errors import BudgetMissedError, InfeasibleError, UsageError, VerificationError

_SAID = 3
"""Networks that a message names besides the closest."""
_TWO_STITCHES, _NONE = Budget(stitches=2), Budget()


@dataclass(frozen=True, slots=True)
class Request:
    """What a build is asked for.

    Attributes:
        latency: the budget as the user wrote it; None: there is none on latency.
        budget: all other limits; donors as the user named them.
        candidates: most networks to build and measure.
        dery: of DeRy mode; None: networks need not have one block of every equivalence set.
        licences: donors whose licence contains one of these texts lend no blocks.
        also: budgets on the workbench's other targets, in their order.
        per_round: networks to build between two solves.
        seconds: wall time to solve, build and measure candidates in; None: all that it takes.
        score: one of `SCORES`: what networks are chosen by; DeRy mode has its own.
    """

    latency: str | None
    budget: Budget = _TWO_STITCHES
    candidates: int = MAX_CANDIDATES
    dery: DerySettings | None = None
    licences: tuple[str, ...] = ()
    also: tuple[Also, ...] = ()
    per_round: int = 1
    seconds: float | None = None
    score: str = QUALITY

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        Effort(self.candidates, self.per_round, self.seconds)
        check_score(self.score)
        if self.score != QUALITY and self.budget.min_quality is not None:
            raise UsageError(
                "--min-quality asks for the least latency, and --score chooses by another measure. "
                "Leave one of the two out."
            )
        if self.dery is not None and self.budget.min_quality is not None:
            raise UsageError(
                "--min-quality asks for the least latency, and --mode dery chooses by a score. "
                "Leave one of the two out."
            )

    @property
    def latencies(self) -> tuple[str | None, ...]:
        """The budget on every target, the one that is searched for first."""
        return (self.latency, *(one.latency for one in self.also))

    @property
    def effort(self) -> Effort:
        """What the search may spend."""
        return Effort(self.candidates, self.per_round, self.seconds)


@dataclass(frozen=True, slots=True)
class Built:
    """A finished search: the choice, measured anew and verified.

    Attributes:
        budget_us: the latency budget in microseconds; None: there is none.
        trial: what was predicted of the chosen network.
        candidate: the chosen network with its final measurement.
        trials: all candidates, best first.
        verification: that its engine computes what it should.
        certificate: what was proven of networks that were not built, and why no more were.
        dery: how DeRy mode came to it.
        limits: everything that was asked for, in numbers and full names.
        elsewhere: what `verification` is, on other targets, by target.
        choice: what it was chosen by; None: in DeRy mode, or for the least latency.
    """

    budget_us: float | None
    trial: Trial
    candidate: Candidate
    trials: tuple[Trial, ...]
    verification: Verification
    certificate: Certificate
    dery: DeryAnswer | None = None
    limits: Budget = _NONE
    elsewhere: tuple[tuple[str, Verification], ...] = ()
    choice: Choice | None = None

    @property
    def kept(self) -> bool:
        """Whether everything that was measured is within the limits."""
        return keeps(self.limits, self.candidate)


def budget_us(text: str, bench: Workbench) -> float:
    """A latency budget in microseconds; a share counts from the donor's measured latency."""
    parsed = parse_latency(text)
    if isinstance(parsed, Latency):
        return parsed.us
    return _share_us(parsed, bench)


def _share_us(share: LatencyShare, bench: Workbench) -> float:
    model = bench.zoo.find(share.model)
    key = model.name, model.preprocessing.input_size
    if not profiled(share, bench) or key not in bench.latency_model.wholes:
        return measured_share_us(share, bench)
    return share.share * bench.latency_model.wholes[key].median_us


def measured_share_us(share: LatencyShare, bench: Workbench) -> float:
    """A share of a donor's latency in microseconds, measured whole at its own input size."""
    model = bench.zoo.find(share.model)
    donor = Blueprint.pure(model.name, model.preprocessing.input_size)
    return share.share * bench.candidates.make(donor).latency.median_us


def profiled(share: LatencyShare, bench: Workbench) -> bool:
    """Whether a profile measures the donor at its own input size, which a share counts from."""
    model = bench.zoo.find(share.model)
    return (model.name, model.preprocessing.input_size) in bench.wanted.donors


def limits(request: Request, bench: Workbench) -> Budget:
    """The request's budgets as the solver takes them: latency in microseconds, full names.

    Raises:
        UnknownNameError: a donor is not in the zoo.
        UsageError: no donor is left, or energy is limited and nothing has metered it.
    """
    asked = named(request, bench)
    if asked.energy_j is not None and all(c.joules is None for c in bench.table.costs.values()):
        raise UsageError(
            f"No energy was measured on {bench.target}: the machine has no meter that this user "
            "may read (derycc doctor). Leave --energy out, or measure on one that has."
        )
    latency_us = None if request.latency is None else budget_us(request.latency, bench)
    elsewhere = [
        (str(there.target), budget_us(one.latency, there))
        for one, there in zip(request.also, bench.elsewhere, strict=True)
    ]
    return replace(asked, latency_us=latency_us, elsewhere=tuple(elsewhere))


def named(request: Request, bench: Workbench) -> Budget:
    """The budget but for its latency, with donors under their full names.

    Raises:
        UnknownNameError, UsageError: as `limits`.
    """
    asked = request.budget
    required = tuple(bench.zoo.find(name).name for name in asked.required)
    excluded = {bench.zoo.find(name).name for name in asked.excluded}
    for text in request.licences:
        unwanted = (m.name for m in bench.zoo if text.casefold() in m.licence.casefold())
        excluded.update(unwanted)
    if excluded and excluded >= set(bench.zoo.names):
        said = ", ".join(f"{model.name} ({model.licence})" for model in bench.zoo)
        raise UsageError(
            f"--without and --exclude-licence leave no donor of {said}. Leave one in, or add "
            "others by --zoo."
        )
    return replace(asked, required=required, excluded=tuple(sorted(excluded)))


def build(request: Request, bench: Workbench, belief: Belief | None = None) -> Built:
    """Search, choose by measurement, measure the choice anew, and verify it.

    Raises:
        InfeasibleError: nothing is predicted to fit.
        BudgetMissedError: nothing that was built keeps the budget when measured.
        VerificationError: the engine does not compute what the network computes.
        DataError: the score needs labels, and the photographs have none.
    """
    bounds, belief = limits(request, bench), belief or bench.belief()
    scored = ScoredBench(bench, request.score)
    try:
        built = choose(scored.loop(belief), bounds, request.effort, bench)
    except InfeasibleError:
        if request.score != QUALITY:
            bench.loop(belief).require(bounds)  # says more: the fastest possible
        raise
    if bounds.min_quality is not None:
        return built
    return replace(built, choice=scored.choice(built.trial, built.trials))


def choose(
    loop: ClosedLoop | ScoredSearch, bounds: Budget, effort: Effort, bench: Workbench
) -> Built:
    """The best of a loop's candidates that keeps the budget a second time.

    Where one does not, the search goes on: it no longer stands against what is still promised. And
    where the second measurement makes another one the best, that one is measured anew, too.

    A network with int8 blocks that does not pass its verification makes way for the next best, too.

    Raises:
        InfeasibleError, BudgetMissedError, VerificationError: as `build`.
    """
    found = _settled(loop, loop.search(bounds, effort), bounds, effort, bench)
    mixed = any(trial.candidate.blueprint.quantized for trial in found.searched.trials)
    if found.built is None and mixed and bench.settings.precision == AUTO:
        # None that has blocks in int8 may be used: the best in float may.
        assert isinstance(loop, ClosedLoop), "no score puts blocks in int8"
        more = loop.in_float(bounds, effort, found.searched.trials)
        found = replace(_settled(loop, more, bounds, effort, bench), fault=found.fault)
    if found.built is not None:
        return found.built
    loop.forget()
    raise found.fault or BudgetMissedError(_missed(bounds, found.searched, str(bench.target)))


@dataclass(frozen=True, slots=True)
class _Settled:
    """What came of a search: a network that is kept, or all that were tried."""

    searched: Searched
    built: Built | None = None
    fault: VerificationError | None = None


def _settled(
    loop: ClosedLoop | ScoredSearch,
    found: Searched,
    bounds: Budget,
    effort: Effort,
    bench: Workbench,
) -> _Settled:
    fault: VerificationError | None = None
    while found.trials[0].within:
        best = loop.confirm(found.trials[0], bounds)
        trials = ranked(best, *found.trials[1:])
        if not best.within:
            found = loop.search(bounds, effort, trials)
        elif trials[0].rank[:2] > best.rank[:2]:
            found = replace(found, trials=trials)
        else:
            found = replace(found, trials=(best, *found.trials[1:]))
            try:
                return _Settled(found, _built(loop, found, bounds, bench))
            except VerificationError as error:
                if isinstance(loop, ScoredSearch) or not best.candidate.blueprint.quantized:
                    raise
                fault = error
            found = loop.search(bounds, effort, ranked(loop.reject(best), *found.trials[1:]))
    return _Settled(found, fault=fault)


def _built(
    loop: ClosedLoop | ScoredSearch, found: Searched, bounds: Budget, bench: Workbench
) -> Built:
    """The best of a search, verified and certified."""
    best = found.trials[0]
    verification, *others = (verified(best.candidate, one) for one in bench.everywhere)
    certificate = loop.certificate(found, best, bounds)
    names = (str(there.target) for there in bench.elsewhere)
    return Built(
        bounds.latency_us,
        best,
        best.candidate,
        found.trials,
        verification,
        certificate,
        limits=bounds,
        elsewhere=tuple(zip(names, others, strict=True)),
    )


def verified(candidate: Candidate, bench: Workbench) -> Verification:
    """Compare the candidate's engine with its torch network.

    Raises:
        VerificationError: it does not compute the same; or, with parts in int8, it is too far from
            it, or costs more of the score than it may.
    """
    design = candidate.design
    network = bench.candidates.network(design)
    images = bench.photographs.verifying(IMAGES, has_int8(design))
    bench.progress.start(f"verifying the engine against torch on {bench.target}", None)
    with get_backend(bench.target.backend).compile(candidate.model, bench.target) as engine:
        verification = verify(network, engine, images, gate_on(bench.target))
    bench.progress.finish()
    if has_int8(design):
        return verified_int8(verification, design, bench)
    if not verification.passed:
        raise VerificationError(_failed(verification, str(bench.target)))
    return verification


def _failed(verification: Verification, target: str) -> str:
    return (
        f"The engine on {target} does not compute what the network computes: on "
        f"{verification.images} photographs {'; '.join(verification.failures)}. Nothing was "
        "published. Try another version of the runtime, and report this network."
    )


def _missed(bounds: Budget, found: Searched, here: str) -> str:
    trials = found.trials
    closest = min(trials, key=lambda t: (len(missed(bounds, t.candidate)), _upper_us(t)))
    head = f"None of the networks that were built ({len(trials)}) keeps "
    alone = not bounds.elsewhere
    limit_us = bounds.latency_us
    if limit_us is None or _upper_us(closest) <= limit_us or not alone:
        said = missed(bounds, closest.candidate, "" if alone else here)
        return (
            f"{head}the limits when it is measured. The closest is {closest.candidate.blueprint}: "
            f"{'; '.join(said)}. Ask for that much{_or_go_on(found, ', or ')}."
            f"{_others(trials, closest)}"
        )
    latency = closest.candidate.latency
    return (
        f"{head}{amount_text('latency_us', limit_us)} when "
        f"it is measured. The closest takes {amount_text('latency_us', latency.median_us)}, "
        f"{enough_text('latency_us', latency.upper_us)} at the upper end of its 95 % interval"
        f"{' (a noisy measurement)' if latency.noisy else ''}: {closest.candidate.blueprint}. "
        f"Ask for that much{_or_go_on(found, ', ')}, or measure on a quieter machine."
        f"{_others(trials, closest)}"
    )


def _others(trials: Sequence[Trial], closest: Trial) -> str:
    """What else was built, and what it takes at the upper end."""
    said = [
        f"{trial.candidate.blueprint} ({enough_text('latency_us', _upper_us(trial))}, predicted "
        f"{enough_text('latency_us', trial.predicted.upper_us)})"
        for trial in trials
        if trial is not closest
    ]
    more = f", and {len(said) - _SAID} more" if len(said) > _SAID else ""
    return f" Also built, upper ends: {'; '.join(said[:_SAID])}{more}." if said else ""


def _or_go_on(found: Searched, joined: str) -> str:
    """What more of would let the search go on, if anything."""
    more = {"candidates": "try more --candidates", "time": "allow more --build-seconds"}
    return f"{joined}{more[found.stopped]}" if found.stopped in more else ""


def _upper_us(trial: Trial) -> float:
    return trial.candidate.latency.upper_us


def out_folder(out: Path | None, request: Request, home: Path, bench: Workbench) -> Path:
    """Where the build goes: as asked, else under the home folder by target and budget."""
    if out is not None:
        return out
    mode = " dery" if request.dery else "" if request.score == QUALITY else f" {request.score}"
    asked = f"{bench.target} {asked_text(request)}{mode}"
    return home / "builds" / folder_name(asked)


def folder_name(text: str) -> str:
    """A text as the name of a folder."""
    return "-".join("".join(c if c.isalnum() or c == "." else " " for c in text).split())


def asked_text(request: Request) -> str:
    """The budgets in words."""
    asked = request.budget
    counts = {"params": asked.params, "MACs": asked.macs}
    words = [] if request.latency is None else [request.latency]
    words += map(str, request.also)
    words += [f"{count} {name}" for name, count in counts.items() if count is not None]
    others = replace(asked, stitches=None, params=None, macs=None)
    words += asked_for(others)
    return ", ".join([*words, *(f"no licence {text}" for text in request.licences)])
