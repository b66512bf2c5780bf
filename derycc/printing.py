"""Printing: results as tables for people and as plain data for `--json`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from compiler.candidates import Candidate
from compiler.precisions import FLOAT
from compiler.zoo import Zoo
from derycc.console import milliseconds, percent, table
from derycc.manifest import Latency, Manifest, Solver
from derycc.manifest_targets import OnTarget
from derycc.printing_asked import constraint_rows, least_quality
from derycc.printing_choice import choice_lines, correlation_line
from derycc.printing_dery import dery_lines

PREDICTION_TOLERANCE = 1.25
"""Measured and predicted latency may differ by this factor before a note says so."""


def zoo_table(zoo: Zoo) -> Table:
    """The donors at hand."""
    columns = ("donor", "source", "licence", ">parameters", ">MACs", ">input", ">top-1 published")
    rows = [
        (
            model.name,
            model.source.partition(": ")[0],
            model.licence,
            f"{model.params / 1e6:.2f} M",
            "-" if model.macs is None else f"{model.macs / 1e6:.0f} M",
            f"{model.preprocessing.input_size} px",
            "-" if model.known_top1 is None else f"{model.known_top1:.1f} %",
        )
        for model in zoo
    ]
    return table("Donors", columns, rows)


def build_table(build: Manifest) -> Table:
    """Predicted beside measured."""
    columns = ("", ">asked", ">predicted", ">measured")
    return table("Promised and measured", columns, promised_rows(build))


def promised_rows(build: Manifest) -> list[tuple[str, ...]]:
    """What was asked, predicted and measured, in the columns of `build_table`."""
    quality = build.quality
    held, chosen = quality.held_out, quality.calibration
    kind = score_name(chosen.top1)
    counted = (f"as counted on {chosen.images} of these", "", "", percent(chosen.score))
    worth = percent(quality.chosen_by)
    return [
        *_latency_rows(build),
        *constraint_rows(build.constraints),
        (f"{kind}, calibration", least_quality(build), percent(quality.expected), worth),
        *([] if chosen.score == quality.chosen_by else [counted]),
        (f"top-1, {held.images} held out", "", "", percent(held.top1)),
        (f"agreement with {quality.reference}", "", "", percent(held.agreement)),
        (
            "engine against torch",
            f"cosine {build.verified.gate}",
            "",
            f"cosine {build.verified.cosine:.6f}",
        ),
    ]


def _latency_rows(build: Manifest) -> list[tuple[str, ...]]:
    """One row a target; a budget that is missed is marked."""
    first = build.latency
    rows: list[tuple[str, Latency | OnTarget, bool]] = [("latency", first, first.within_budget)]
    if len(build.targets) > 1:
        rows = [(f"latency on {one.target}", one, one.within) for one in build.targets]
    return [
        (
            name,
            milliseconds(one.budget_us),
            _predicted(one),
            f"{milliseconds(one.measured_us)} ({one.measured_interval_us[0] / 1000:.2f} to "
            f"{one.measured_interval_us[1] / 1000:.2f})" + ("" if within else " MISSED"),
        )
        for name, one, within in rows
    ]


def _predicted(latency: Latency | OnTarget) -> str:
    if latency.predicted_us is None:
        return "-"
    return f"{milliseconds(latency.predicted_us)} (to {milliseconds(latency.predicted_upper_us)})"


def network_lines(build: Manifest) -> list[str]:
    """The network in words."""
    lines = [
        f"Network at {build.network.input_size} px, {build.network.params / 1e6:.2f} M params:"
    ]
    stitches = ("", *build.network.stitches)
    for index, stitch in enumerate(stitches):
        if stitch:
            lines.append(f"  stitch   {stitch}")
        lines += [f"  segment  {piece}" for piece in segment_texts(build, index)]
    lines += precision_lines(build)
    if build.solver is None:
        how = "Rebuilt from a lock" if build.replayed else "Written down by hand"
        return [*lines, f"{how}: nothing was searched for, and nothing predicted."]
    count = len(build.tried)
    tried = f"{count} {'candidate was' if count == 1 else 'candidates were'} built and measured."
    if build.dery is not None:
        return [*lines, *dery_lines(build.dery, build.solver), tried]
    chosen = build.choice
    if chosen is not None and chosen.score != "quality":
        return [*lines, *choice_lines(chosen, build.solver), tried]
    lines += [solver_line(build.solver, _is_for_latency(build)), tried]
    if chosen is not None and chosen.correlation is not None:
        lines.append(correlation_line(chosen.score, chosen.correlation))
    return lines


def segment_texts(build: Manifest, index: int) -> list[str]:
    """A segment in words: as a whole, or in its pieces where some are in int8."""
    segment, precision = build.network.segments[index], build.precision
    if precision is None:
        return [f"{segment.model}, {segment.start} to {segment.end}"]
    return [
        f"{piece.model}, {piece.start} to {piece.end}, {piece.asked}"
        + ("" if piece.asked == FLOAT else f" ({piece.integer:.0%} in integer kernels)")
        for piece in precision.pieces
        if piece.segment == index
    ]


def precision_lines(build: Manifest) -> list[str]:
    """What int8 is used for and costs; empty where nobody asked for it."""
    lines = [] if build.int8 is None else [f"Precision: {build.int8}"]
    precision = build.precision
    if precision is None:
        return lines if build.int8 is None else [*lines, "The network is all in fp32."]
    wrong = [piece for piece in precision.pieces if not piece.kept]
    lines.append(
        f"In int8 the least cosine to fp32 is {precision.cosine:.4f}, and its score is "
        f"{100 * precision.drop:.1f} points lower on choosing photographs, "
        f"{100 * precision.held_out_drop:.1f} on held-out ones (at most "
        f"{100 * precision.max_drop:.4g} asked for)."
    )
    lines += [
        f"MISSED: {piece.model}, {piece.start} to {piece.end} was asked for in {piece.asked}, and "
        f"integer kernels do {piece.integer:.0%} of it."
        for piece in wrong
    ]
    return lines


def _is_for_latency(build: Manifest) -> bool:
    """Whether the least latency was looked for, not the best quality."""
    return build.demands is not None and build.demands.min_quality is not None


def solver_line(solver: Solver, for_latency: bool = False) -> str:
    """What the solver proved of a network, under the models it believed then.

    Args:
        solver: its certificate; objective and bound are qualities, or microseconds.
        for_latency: whether they are microseconds, of which less is better.
    """
    say, what = (milliseconds, "latency") if for_latency else (percent, "quality")
    expected = f"expected {what} {'up to ' if for_latency else ''}{say(solver.objective)}"
    if solver.status == "optimal":
        rest = f" but the {solver.already_tried} tried before it" if solver.already_tried else ""
        return f"Solver: proven best of all networks{rest}, {expected}."
    side = "below" if for_latency else "above"
    bound = "" if solver.bound is None else f"; none is expected {side} {say(solver.bound)}"
    return f"Solver: {solver.status}, {expected}{bound}."


def build_notes(build: Manifest) -> list[str]:
    """What a reader should know before trusting a build's numbers."""
    notes = [] if build.data.caution is None else [build.data.caution]
    if build.network.untrained:
        notes.append(untrained_note(build.network.untrained))
    others = build.targets[1:]
    notes += _latency_notes(build.latency, f" on {build.target}" if others else "")
    for one in others:
        notes += _latency_notes(one, f" on {one.target}")
    return notes


def _latency_notes(latency: Latency | OnTarget, where: str) -> list[str]:
    """What is to be said of a measurement, on a target if it is said on which."""
    ratio, notes = latency.measured_us / (latency.predicted_us or latency.measured_us), []
    if not 1 / PREDICTION_TOLERANCE <= ratio <= PREDICTION_TOLERANCE:
        notes.append(
            f"measured{where} is {ratio:.2f} times predicted, so the blocks seem to have been "
            "measured while the machine was in another state. Measure them anew: derycc profile "
            "--fresh."
        )
    if latency.noisy:
        notes.append(f"the final measurement{where} is noisy; measure again with derycc bench.")
    return notes


def untrained_note(parts: Sequence[str]) -> str:
    """What must be said of a network some parts of which nothing has trained."""
    verb = "is" if len(parts) == 1 else "are"
    return (
        f"{', '.join(parts)} {verb} untrained (random weights), so the quality above is that of "
        "chance; the latency is real. Train the network before it is used."
    )


def score_name(top1: float | None) -> str:
    """What quality is called: without labels it is the agreement with the reference donor."""
    return "agreement" if top1 is None else "top-1"


def donors_table(alone: Sequence[Candidate]) -> Table:
    """The donors alone, as a sweep prints them."""
    rows = [_donor_row(candidate) for candidate in alone]
    kind = score_name(alone[0].judged.calibration.top1)
    columns = (
        "donor alone",
        ">input",
        ">measured",
        f">{kind} calibration",
        ">held out",
        ">agreement",
    )
    return table("Donors alone, at their own input size", columns, rows)


def _donor_row(candidate: Candidate) -> tuple[str, ...]:
    judged = candidate.judged
    return (
        candidate.blueprint.segments[0].model,
        f"{candidate.blueprint.input_size} px",
        milliseconds(candidate.latency.median_us),
        percent(judged.calibration.score),
        percent(judged.held_out.score),
        percent(judged.held_out.agreement),
    )


def candidate_data(candidate: Candidate) -> dict[str, Any]:
    """A network for `--json`."""
    latency = candidate.latency
    return {
        "network": asdict(candidate.blueprint),
        "median_us": latency.median_us,
        "interval_us": latency.interval_us,
        "noisy": latency.noisy,
        "calibration": asdict(candidate.judged.calibration),
        "held_out": asdict(candidate.judged.held_out),
    }
