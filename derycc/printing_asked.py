"""Printing: the limits that were asked for, beside what was predicted and measured."""

from collections.abc import Sequence

from derycc.manifest import Manifest
from derycc.manifest_asked import Constraint
from targets.amounts import amount_text, enough_text, words
from targets.budget import LATENCY, target_of

Row = tuple[str, str, str, str]


def constraint_rows(constraints: Sequence[Constraint]) -> list[Row]:
    """What was limited, and how much of it the network takes; latency has a row of its own."""
    return [
        (
            words(one.resource),
            amount_text(one.resource, one.asked),
            _amount(one.resource, one.predicted),
            _amount(one.resource, one.measured) + ("" if one.kept else " MISSED"),
        )
        for one in constraints
        if one.asked is not None and one.resource != LATENCY and target_of(one.resource) is None
    ]


def least_quality(build: Manifest) -> str:
    """The quality that was asked for; empty where none was."""
    demands = build.demands
    if demands is None or demands.min_quality is None:
        return ""
    return f"{100 * demands.min_quality:.4g} %"


def _amount(resource: str, amount: float | None) -> str:
    return "-" if amount is None else enough_text(resource, amount)
