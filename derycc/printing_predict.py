"""Printing: a predicted latency as a waterfall, and as plain data."""

from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from derycc.console import milliseconds, table, without
from derycc.predicting import Compared, Foretold, Pending
from derycc.waterfall import Step
from profilers.prediction import LatencyPredictor

_BAR = 24
_COLUMNS = (
    *("", "what", ">alone", ">context", ">deviation", ">total", ">running", ">share"),
    "!start to end",
)
_WIDE, _NARROW = 120, 100
"""Columns of a screen that has room for bars, and of one that has room for what adds up."""
_BARS = ("!start to end",)
_DETAILS = (*_BARS, ">context", ">deviation", ">running")


def predict_table(told: Foretold, blocks: bool = False, mark: str = "█", width: int = 140) -> Table:
    """A row for every step, each bar beginning where the one before it ends.

    Args:
        told: the prediction.
        blocks: a row for every part.
        mark: what bars are made of.
        width: columns of the screen; the bars are left out where they do not fit, and then what
            a total is made of.
    """
    steps, whole = told.steps(blocks), told.prediction.median_us
    own_size = f" at {told.input_size} px"
    rows = [
        (*_words(step, own_size), *_numbers(step, whole), _bar(step, whole, mark)) for step in steps
    ]
    low, high = told.prediction.interval_us
    interval = f"95 % interval {milliseconds(low)} to {milliseconds(high)}"
    rows.append(("predicted", interval, "", "", "", _us(whole), _us(whole), "", ""))
    title = f"Latency of {told.network} on {told.target}, in microseconds"
    unwanted = _DETAILS if width < _NARROW else _BARS if width < _WIDE else ()
    return table(escape(title), *without(_COLUMNS, rows, unwanted))


def predict_lines(told: Foretold) -> list[str]:
    """What was measured beside it, and where the numbers come from."""
    lines = [
        *_compared("recorded", told.recorded),
        *_elsewhere(told),
        *_compared("measured now", told.measured),
        _source(told),
        *_held(told),
    ]
    if told.noisy:
        lines.append(
            f"{told.noisy} of these measurements are noisy: measure them again on a quiet machine, "
            "with derycc profile --fresh."
        )
    return lines


def predict_data(told: Foretold, blocks: bool = False) -> dict[str, Any]:
    """A prediction for `--json`."""
    predictor, prediction, pending = told.predictor, told.prediction, told.pending
    whole = prediction.median_us
    return {
        "network": told.network,
        "input_size": told.input_size,
        "target": told.target,
        "predicted_us": prediction.median_us,
        "interval_us": prediction.interval_us,
        "context": asdict(predictor.context),
        "left_out_error": predictor.relative_error,
        "left_out_networks": len(predictor.left_out),
        "measured_first": {"zoo": pending.zoo, "parts": list(pending.parts)},
        "noisy_parts": told.noisy,
        "held_parts": told.held,
        "steps": [
            {**asdict(step), "end_us": step.end_us, "share": step.total_us / whole}
            for step in told.steps(blocks)
        ],
        "recorded": None if told.recorded is None else asdict(told.recorded),
        "recorded_elsewhere": told.elsewhere,
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
    lines.append(f"At most {pending.seconds:.0f} s. Nothing was measured (--dry-run).")
    return lines


def _words(step: Step, own_size: str) -> tuple[str, str]:
    estimated = " (estimated)" if step.parts and step.estimated == step.parts else ""
    return step.name, step.what.removesuffix(own_size) + estimated


def _numbers(step: Step, whole_us: float) -> tuple[str, ...]:
    return (
        "" if step.alone_us is None else _us(step.alone_us),
        f"{step.context_us:+,.1f}",
        f"{step.deviation_us:+,.1f}",
        _us(step.total_us),
        _us(step.end_us),
        f"{100 * step.total_us / whole_us:.1f} %",
    )


def _us(us: float) -> str:
    return f"{us:,.1f}"


def _bar(step: Step, whole_us: float, mark: str) -> str:
    begin = min(round(_BAR * step.start_us / whole_us), _BAR - 1)
    end = max(round(_BAR * step.end_us / whole_us), begin + 1)
    return " " * begin + mark * (end - begin)


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


def _elsewhere(told: Foretold) -> list[str]:
    if told.elsewhere is None:
        return []
    return [
        f"recorded: not compared, since the build was measured on {told.elsewhere} in another "
        "environment (see derycc store list)."
    ]


def _source(told: Foretold) -> str:
    steps = told.steps()
    parts, estimated = sum(s.parts for s in steps), sum(s.estimated for s in steps)
    return (
        f"{parts - estimated} of {parts} parts were measured alone, {estimated} estimated"
        f"{_first(told.pending)}; {_trust(told.predictor)}."
    )


def _first(pending: Pending) -> str:
    """What had to be measured before the prediction could be made."""
    if not (pending.zoo or pending.parts):
        return ""
    return f" ({pending.zoo} models of the profile and {len(pending.parts)} parts just now)"


def _trust(predictor: LatencyPredictor) -> str:
    error, seen = predictor.relative_error, len(predictor.left_out)
    if error is None:
        return "no whole network tells how far to trust it"
    who = "one whole network, left out of the fit, is"
    if seen > 1:
        who = f"{seen} whole networks, left out of the fit one by one, are"
    return f"{who} predicted to {100 * error:.1f} %"


def _held(told: Foretold) -> list[str]:
    if not told.held:
        return []
    return [
        f"{told.held} parts would cost next to nothing inside a network: of each, a twentieth of "
        "its latency alone counts, so that its row adds up to less than its total."
    ]
