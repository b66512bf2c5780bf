"""Planning: what a build would measure and build, without doing any of it."""

from pathlib import Path

from compiler.dery_bench import DerySettings
from compiler.effort import Effort
from compiler.scores import QUALITY
from compiler.workbench import Workbench
from derycc.building import Request, asked_text, budget_us, named, profiled
from derycc.int8_gate import int8_plan
from targets.budget import Latency, LatencyShare, parse_latency


def plan(request: Request, bench: Workbench, folder: Path) -> list[str]:
    """What a build would do; measures nothing."""
    for text in request.latencies:
        parsed = None if text is None else parse_latency(text)
        if isinstance(parsed, LatencyShare):
            bench.zoo.find(parsed.model)
    excluded = named(request, bench).excluded
    lines = [
        f"Target {bench.target}, budget {asked_text(request)}, at most {request.budget.stitches} "
        f"stitches, "
        f"input sizes {', '.join(map(str, bench.settings.sizes))} px.",
        f"Donors: {', '.join(name for name in bench.zoo.names if name not in excluded)}.",
    ]
    for text, one in zip(request.latencies, bench.everywhere, strict=True):
        where = f"On {one.target}: " if request.also else ""
        lines.append(where + _to_measure(text, one))
    if request.dery is not None:
        lines.append(_dery_plan(request.dery))
    elif request.score != QUALITY:
        lines.append(f"Networks would be chosen by {request.score}, not by expected quality.")
    lines += int8_plan(bench)
    lines.append(_effort_plan(request.effort))
    lines.append(f"Would write {folder}. Nothing was built (--dry-run).")
    return lines


def _to_measure(text: str | None, bench: Workbench) -> str:
    """What is still to be measured on a target, and the budget there if that is known."""
    missing = bench.profile.plan(bench.wanted)
    if missing.to_measure:
        return (
            f"Would first measure {missing.to_measure} models, at most "
            f"{missing.estimated_seconds:.0f} s (derycc profile does the same)."
        )
    if text is None:
        return "Everything is measured."
    parsed = parse_latency(text)
    if isinstance(parsed, Latency) or profiled(parsed, bench):
        asked = budget_us(text, bench)
        return f"Everything is measured; the budget is {asked / 1000:.2f} ms."
    return f"Would first measure {parsed.model} at its own input size for the budget."


def _effort_plan(effort: Effort) -> str:
    time = (
        ""
        if effort.seconds is None
        else f", and begin none that is not expected to be finished after {effort.seconds:.4g} s"
    )
    return f"Would build and measure at most {effort.candidates} candidates{time}."


def _dery_plan(dery: DerySettings) -> str:
    return (
        f"DeRy mode: would compare the donors on the photographs, cut each into {dery.k} blocks, "
        f"group these into {dery.k} equivalence sets, and take one block of each by {dery.score}. "
        "Which stitches are measured depends on the sets."
    )
