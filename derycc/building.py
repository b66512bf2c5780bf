"""Building: from a budget to a verified, measured engine in a folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from backends.registry import get_backend
from compiler.candidates import Candidate
from compiler.closed_loop import MAX_CANDIDATES, Belief, ClosedLoop, Trial, ranked
from compiler.dery_bench import DeryAnswer, DerySettings
from compiler.network import Blueprint
from compiler.scored_search import ScoredSearch
from compiler.search_space import Limits
from compiler.verification import Verification, verify
from compiler.workbench import Workbench
from targets.budget import Latency, LatencyShare, parse_latency
from targets.errors import BudgetMissedError, VerificationError


@dataclass(frozen=True, slots=True)
class Request:
    """What a build is asked for.

    Attributes:
        latency: the budget as the user wrote it; None: there is none on latency.
        stitches: most stitching layers.
        params: most parameters, or None.
        macs: most multiply-accumulates, or None.
        candidates: most networks to build and measure.
        dery: of DeRy mode; None: networks need not have one block of every equivalence set.
    """

    latency: str | None
    stitches: int = 2
    params: int | None = None
    macs: int | None = None
    candidates: int = MAX_CANDIDATES
    dery: DerySettings | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A finished search: the choice, measured anew and verified.

    Attributes:
        budget_us: the latency budget in microseconds; None: there is none.
        trial: what was predicted of the chosen network.
        candidate: the chosen network with its final measurement.
        trials: all candidates, best first.
        verification: that its engine computes what it should.
        dery: how DeRy mode came to it.
    """

    budget_us: float | None
    trial: Trial
    candidate: Candidate
    trials: tuple[Trial, ...]
    verification: Verification
    dery: DeryAnswer | None = None

    @property
    def kept(self) -> bool:
        """Whether the upper end of the measured latency is within the budget."""
        return self.budget_us is None or self.candidate.latency.upper_us <= self.budget_us


def budget_us(text: str, bench: Workbench) -> float:
    """A latency budget in microseconds; a share counts from the donor's measured latency."""
    parsed = parse_latency(text)
    if isinstance(parsed, Latency):
        return parsed.us
    return _share_us(parsed, bench)


def _share_us(share: LatencyShare, bench: Workbench) -> float:
    model = bench.zoo.find(share.model)
    key = model.name, model.preprocessing.input_size
    if not _profiled(share, bench) or key not in bench.latency_model.wholes:
        return measured_share_us(share, bench)
    return share.share * bench.latency_model.wholes[key].median_us


def measured_share_us(share: LatencyShare, bench: Workbench) -> float:
    """A share of a donor's latency in microseconds, measured whole at its own input size."""
    model = bench.zoo.find(share.model)
    donor = Blueprint.pure(model.name, model.preprocessing.input_size)
    return share.share * bench.candidates.make(donor).latency.median_us


def _profiled(share: LatencyShare, bench: Workbench) -> bool:
    """Whether a profile measures the donor at its own input size, which a share counts from."""
    model = bench.zoo.find(share.model)
    return (model.name, model.preprocessing.input_size) in bench.wanted.donors


def limits(request: Request, bench: Workbench) -> Limits:
    """The request's budgets as the solver takes them."""
    latency_us = None if request.latency is None else budget_us(request.latency, bench)
    return Limits(latency_us, request.stitches, request.params, request.macs)


def build(request: Request, bench: Workbench, belief: Belief | None = None) -> Built:
    """Search, choose by measurement, measure the choice anew, and verify it.

    Raises:
        InfeasibleError: nothing is predicted to fit.
        BudgetMissedError: nothing that was built keeps the budget when measured.
        VerificationError: the engine does not compute what the network computes.
    """
    bounds = limits(request, bench)
    return choose(bench.loop(belief or Belief()), bounds, request.candidates, bench)


def choose(loop: ClosedLoop | ScoredSearch, bounds: Limits, most: int, bench: Workbench) -> Built:
    """The best of a loop's candidates that keeps the budget a second time.

    Raises:
        InfeasibleError, BudgetMissedError, VerificationError: as `build`.
    """
    limit = bounds.latency_us
    trials = loop.search(bounds, most)
    while trials[0].within:
        candidate = bench.candidates.confirm(trials[0].candidate.blueprint)
        if limit is None or candidate.latency.upper_us <= limit:
            verification = verified(candidate, bench)
            return Built(limit, trials[0], candidate, trials, verification)
        trials = ranked(replace(trials[0], candidate=candidate, within=False), *trials[1:])
        if not trials[0].within:
            trials = loop.search(bounds, most, trials)
    assert limit is not None, "without a budget every network is within it"
    raise BudgetMissedError(_missed(limit, trials))


def verified(candidate: Candidate, bench: Workbench) -> Verification:
    """Compare the candidate's engine with its torch network; a difference is an error."""
    network = bench.candidates.network(candidate.design)
    images = bench.photographs.held_out
    bench.progress.start("verifying the engine against torch", None)
    with get_backend(bench.target.backend).compile(candidate.model, bench.target) as engine:
        verification = verify(network, engine, images)
    bench.progress.finish()
    if not verification.passed:
        raise VerificationError(_failed(verification))
    return verification


def _failed(verification: Verification) -> str:
    return (
        f"The engine does not compute what the network computes: on {verification.images} "
        f"photographs the least cosine of the logits is {verification.cosine:.6f} (at least "
        f"{verification.gate} is demanded), and a second run gave "
        f"{'the same' if verification.repeatable else 'another'} answer. Nothing was published. "
        "Try another version of the runtime, and report this network."
    )


def _missed(limit_us: float, trials: tuple[Trial, ...]) -> str:
    closest = min(trials, key=lambda trial: trial.candidate.latency.upper_us)
    latency = closest.candidate.latency
    return (
        f"None of the networks that were built ({len(trials)}) keeps {limit_us / 1000:.3g} ms when "
        f"it is measured. The closest takes {latency.median_us / 1000:.3g} ms, "
        f"{latency.upper_us / 1000:.3g} ms at the upper end of its 95 % interval"
        f"{' (a noisy measurement)' if latency.noisy else ''}: {closest.candidate.blueprint}. "
        "Ask for that much, try more --candidates, or measure on a quieter machine."
    )


def out_folder(out: Path | None, request: Request, home: Path, bench: Workbench) -> Path:
    """Where the build goes: as asked, else under the home folder by target and budget."""
    if out is not None:
        return out
    asked = f"{bench.target} {_asked(request)}{' dery' if request.dery else ''}"
    words = "".join(c if c.isalnum() or c == "." else " " for c in asked).split()
    return home / "builds" / "-".join(words)


def _asked(request: Request) -> str:
    """The budgets in words."""
    named = {"params": request.params, "MACs": request.macs}
    counts = [f"{count} {name}" for name, count in named.items() if count is not None]
    return ", ".join([request.latency, *counts] if request.latency is not None else counts)


def plan(request: Request, bench: Workbench, folder: Path) -> list[str]:
    """What a build would do; measures nothing."""
    parsed = None if request.latency is None else parse_latency(request.latency)
    if isinstance(parsed, LatencyShare):
        bench.zoo.find(parsed.model)
    missing = bench.profile.plan(bench.wanted)
    lines = [
        f"Target {bench.target}, budget {_asked(request)}, at most {request.stitches} stitches, "
        f"input sizes {', '.join(map(str, bench.settings.sizes))} px.",
        f"Donors: {', '.join(bench.zoo.names)}.",
    ]
    if missing.to_measure:
        lines.append(
            f"Would first measure {missing.to_measure} models, at most "
            f"{missing.estimated_seconds:.0f} s (derycc profile does the same)."
        )
    elif request.latency is None or parsed is None:
        lines.append("Everything is measured.")
    elif isinstance(parsed, Latency) or _profiled(parsed, bench):
        asked = budget_us(request.latency, bench)
        lines.append(f"Everything is measured; the budget is {asked / 1000:.2f} ms.")
    else:
        lines.append(f"Would first measure {parsed.model} at its own input size for the budget.")
    if request.dery is not None:
        lines.append(_dery_plan(request.dery))
    lines.append(f"Would build and measure at most {request.candidates} candidates.")
    lines.append(f"Would write {folder}. Nothing was built (--dry-run).")
    return lines


def _dery_plan(dery: DerySettings) -> str:
    return (
        f"DeRy mode: would compare the donors on the photographs, cut each into {dery.k} blocks, "
        f"group these into {dery.k} equivalence sets, and take one block of each by {dery.score}. "
        "Which stitches are measured depends on the sets."
    )
