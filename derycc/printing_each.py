"""Printing of separate builds: one network a target, beside one for all of them."""

import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from derycc.console import milliseconds, percent, table
from derycc.each import Separate
from derycc.manifest import Manifest


def each_table(separate: Sequence[Separate], common: Manifest | None) -> Table:
    """One line a target; the common network beside it, where there is one to compare with."""
    columns = ["target", ">asked", ">upper end", ">quality", "network of its own"]
    if common is not None:
        columns += [">common: upper end", ">quality", ">sharing costs"]
    rows = [_row(one, common) for one in separate]
    return table("The best network for each target", columns, rows)


def each_lines(separate: Sequence[Separate], common: Manifest | None) -> list[str]:
    """What the table means, and what must be said of a network in it."""
    warnings = [
        f"Warning: {name}: {text}"
        for name, papers in (*((one.target, one.papers) for one in separate), ("common", common))
        if papers is not None
        for text in papers.warnings
    ]
    return [*_meaning(separate, common), *warnings]


def _meaning(separate: Sequence[Separate], common: Manifest | None) -> list[str]:
    if common is None:
        return [
            "To see what one network for all targets costs, build that, too: the same command "
            "without --each (with --out: into its folder common)."
        ]
    lines = [f"The common network is {_network(common)}."]
    if any(one.papers and _network(one.papers) != _network(common) for one in separate):
        lines.append("Quality is what choices are made by: on the calibration photographs.")
    else:
        lines.append("It is the best for each target, too: sharing costs nothing.")
    return lines


def each_data(separate: Sequence[Separate], common: Manifest | None) -> dict[str, Any]:
    """For `--json`."""
    return {
        "builds": [
            {
                "target": one.target,
                "budget": one.budget,
                "folder": str(one.folder),
                "refusal": None if one.error is None else str(one.error),
                "manifest": _data(one.papers),
            }
            for one in separate
        ],
        "common": _data(common),
        "sharing_costs": {
            one.target: one.papers.quality.chosen_by - common.quality.chosen_by
            for one in separate
            if one.papers is not None and common is not None
        },
    }


def _row(one: Separate, common: Manifest | None) -> tuple[str, ...]:
    own, papers = ("-", "-", "none: see below"), one.papers
    if papers is not None:
        own = (
            milliseconds(papers.latency.measured_interval_us[1]),
            percent(papers.quality.chosen_by),
            _network(papers),
        )
    row = (one.target, one.budget or "-", *own)
    if common is None:
        return row
    (there,) = [found for found in common.targets if found.target == one.target]
    lost = None if papers is None else papers.quality.chosen_by - common.quality.chosen_by
    return (
        *row,
        milliseconds(there.measured_interval_us[1]),
        percent(common.quality.chosen_by),
        "-" if lost is None else f"{100 * lost:.1f} points",
    )


def _network(papers: Manifest) -> str:
    said = papers.network
    runs = "+".join(f"{one.model}[{one.start}..{one.end}]" for one in said.segments)
    return f"{said.input_size}px {runs}"


def _data(papers: Manifest | None) -> Any:
    return None if papers is None else json.loads(papers.to_json())
