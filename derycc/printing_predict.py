"""Printing: a predicted latency as a waterfall, and as plain data."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from derycc.console import milliseconds, table
from derycc.predicting import Compared, Foretold, Pending
from derycc.waterfall import Step

_BAR = 24


def predict_table(told: Foretold, blocks: bool = False) -> Table:
    """A row for every step, each bar beginning where the one before it ends."""
    steps, whole = told.steps(blocks), told.prediction.median_us
    rows = [_row(step, whole) for step in steps]
    low, high = told.prediction.interval_us
    interval = f"{milliseconds(low)} to {milliseconds(high)}"
    rows.append(("predicted", f"95 %: {interval}", "", "", "", milliseconds(whole), "", ""))
    columns = (
        "",
        "what",
        ">alone",
        ">context",
        ">deviation",
        ">total",
        ">share",
        "start to end",
    )
    return table(f"Latency of {told.network} on {told.target}", columns, rows)


def predict_lines(told: Foretold) -> list[str]:
    """What was measured beside it, and where the numbers come from."""
    lines = [
        *_compared("recorded", told.recorded),
        *_compared("measured now", told.measured),
        _source(told),
    ]
    if told.noisy:
        lines.append(
            f"{told.noisy} of these measurements are noisy: measure them again on a quiet machine, "
            "with derycc profile --fresh."
        )
    return lines


def predict_data(told: Foretold, blocks: bool = False) -> dict[str, Any]:
    """A prediction for `--json`."""
    predictor, prediction = told.predictor, told.prediction
    return {
        "network": told.network,
        "input_size": told.input_size,
        "target": told.target,
        "predicted_us": prediction.median_us,
        "interval_us": prediction.interval_us,
        "context": asdict(predictor.context),
        "left_out_error": predictor.relative_error,
        "left_out_networks": len(predictor.left_out),
        "noisy_parts": told.noisy,
        "steps": [asdict(step) for step in told.steps(blocks)],
        "recorded": None if told.recorded is None else asdict(told.recorded),
        "measured": None if told.measured is None else asdict(told.measured),
    }


def pending_lines(pending: Pending) -> list[str]:
    """What a prediction would measure first."""
    lines = [f"Network: {pending.network}, on {pending.target}."]
    if pending.zoo:
        lines.append(f"Would first measure {pending.zoo} models of its donors' profile.")
    if pending.parts:
        lines.append(f"Would measure {len(pending.parts)} parts: {', '.join(pending.parts)}.")
    if pending.whole:
        lines.append("Would measure the whole network.")
    if not (pending.zoo or pending.parts or pending.whole):
        lines.append("Everything it needs is measured already.")
    lines.append(f"About {pending.seconds:.0f} s. Nothing was measured (--dry-run).")
    return lines


def _row(step: Step, whole_us: float) -> tuple[str, ...]:
    alone = "" if step.alone_us is None else f"{step.alone_us:,.0f} us"
    return (
        step.name,
        step.what + (" (estimated)" if step.parts and step.estimated == step.parts else ""),
        alone,
        f"{step.context_us:+,.0f} us",
        f"{step.deviation_us:+,.0f} us",
        milliseconds(step.total_us),
        f"{100 * step.total_us / whole_us:.1f} %",
        _bar(step, whole_us),
    )


def _bar(step: Step, whole_us: float) -> str:
    begin = round(_BAR * step.start_us / whole_us)
    end = max(round(_BAR * step.end_us / whole_us), begin + 1)
    return " " * begin + "█" * (end - begin)


def _compared(when: str, compared: Compared | None) -> list[str]:
    if compared is None:
        return []
    low, high = compared.interval_us
    inside = "inside" if compared.inside else "outside"
    return [
        f"{when}: {milliseconds(compared.median_us)} ({milliseconds(low)} to {milliseconds(high)})"
        f"{', noisy' if compared.noisy else ''}; the prediction is {100 * compared.error:+.1f} % "
        f"off, and the measurement {inside} its interval."
    ]


def _source(told: Foretold) -> str:
    steps = told.steps()
    parts, estimated = sum(s.parts for s in steps), sum(s.estimated for s in steps)
    error = told.predictor.relative_error
    known = (
        "no whole network tells how far to trust it"
        if error is None
        else f"{len(told.predictor.left_out)} whole networks, left out of the fit one by one, are "
        f"predicted to {100 * error:.1f} %"
    )
    return (
        f"{parts - estimated} of {parts} parts were measured alone, {estimated} estimated; {known}."
    )
