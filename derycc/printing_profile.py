"""Printing: a profile of a zoo as a table, as notes and as plain data."""

from collections.abc import Mapping
from statistics import geometric_mean
from typing import Any

from rich.table import Table

from compiler.latency_model import LatencyModel
from compiler.precisions import FLOAT, INT8
from compiler.wanted import Wanted
from compiler.workbench import Workbench
from derycc.console import milliseconds, table
from profilers.cost_table import CostTable
from profilers.measurement import Measurement
from profilers.profile import ProfilePlan
from targets.target import Target

_MEGA = 1e6
_NAMED = 3
"""Noisy measurements that are named."""


def profile_table(bench: Workbench) -> Table:
    """What each donor costs, and how well it is predicted without knowing it."""
    costs, foretold = bench.table.costs, _foretold(bench.latency_model)
    rows = []
    for (name, size), parts in bench.wanted.donors.items():
        cost = costs.get(parts.whole)
        rows.append(
            (
                name,
                f"{size} px",
                str(len(parts.chain)),
                *(("not measured", "", "") if cost is None else _measured(cost)),
                _signed(foretold.get(f"{name}@{size}")),
                "noisy" if cost is not None and cost.noisy else "",
            )
        )
    columns = (
        *("donor", ">input", ">blocks", ">whole", ">95 % interval (ms)", ">peak memory"),
        *(">predicted unseen", ""),
    )
    return table(f"Measured on {bench.target}", columns, rows)


def profile_notes(bench: Workbench) -> list[str]:
    """What else there is to know about a profile."""
    wanted, model, costs = bench.wanted, bench.latency_model, bench.table
    return [
        f"{wanted.blocks} blocks, {wanted.distinct_blocks} of them distinct: "
        f"{wanted.blocks - wanted.distinct_blocks} measurements saved.",
        *_stitch_note(model),
        *_prediction_note(wanted, model),
        *_int8_note(wanted, costs.costs),
        *_precision_notes(bench.target, wanted),
        *_absent_notes(costs),
        *_noise_notes(costs),
    ]


def profile_data(bench: Workbench) -> dict[str, Any]:
    """A profile for `--json`."""
    model, foretold = bench.latency_model, _foretold(bench.latency_model)
    donors = [
        {
            "donor": name,
            "input_size": size,
            "blocks": len(parts.chain),
            **_cost_data(bench.table.costs.get(parts.whole)),
            "sum_of_blocks_excess": _excess(model, name, size),
            "predicted_unseen_error": foretold.get(f"{name}@{size}"),
        }
        for (name, size), parts in bench.wanted.donors.items()
    ]
    stitches = model.predictor.alone.estimates.get("stitch")
    return {
        "target": str(bench.target),
        "environment": bench.table.environment.fingerprint,
        "blocks": bench.wanted.blocks,
        "distinct_blocks": bench.wanted.distinct_blocks,
        "stitch_model": None
        if stitches is None
        else {"shapes": stitches.parts, "relative_error": stitches.error},
        "prediction_error": model.predictor.relative_error,
        "noisy": sum(cost.noisy for cost in bench.table.costs.values()),
        "noise": {c.name: c.noise for c in bench.table.costs.values() if c.noise is not None},
        "measurements": len(bench.table.costs),
        "unmeasured": len(bench.table.unmeasured),
        "failures": dict(bench.table.failures),
        "donors": donors,
    }


def plan_lines(plan: ProfilePlan) -> list[str]:
    """What a profile would do."""
    lines = [
        f"{plan.total} models still to measure, {plan.distinct} of them distinct.",
        f"About {plan.estimated_seconds:.0f} s where all run to their limits, usually less. "
        f"Nothing was measured (--dry-run).",
    ]
    if plan.fits is not None:
        lines.insert(1, f"About {plan.fits} of them fit into the time limit even then.")
    return lines


def _measured(cost: Measurement) -> tuple[str, str, str]:
    low, high = cost.interval_us
    memory = "-" if cost.peak_bytes is None else f"{cost.peak_bytes / _MEGA:.1f} MB"
    return milliseconds(cost.median_us), f"{low / 1000:.2f} to {high / 1000:.2f}", memory


def _cost_data(cost: Measurement | None) -> dict[str, Any]:
    if cost is None:
        return {"median_us": None, "interval_us": None, "noisy": None}
    return {
        "median_us": cost.median_us,
        "interval_us": cost.interval_us,
        "noisy": cost.noisy,
        "noise": cost.noise,
        "peak_bytes": cost.peak_bytes,
        "load_seconds": cost.load_seconds,
        "joules": cost.joules,
    }


def _excess(model: LatencyModel, name: str, size: int) -> float | None:
    """By how much the plain sum of a donor's blocks exceeds it; None where it is not known."""
    if (name, size) not in model.wholes or "block" not in model.predictor.alone.estimates:
        return None
    return model.additivity_error(name, size)


def _foretold(model: LatencyModel) -> Mapping[str, float]:
    """For each network measured whole, the relative error of predicting it from all the others."""
    return {one.name: one.relative_error for one in model.predictor.left_out}


def _signed(error: float | None) -> str:
    return "-" if error is None else f"{100 * error:+.1f} %"


def _stitch_note(model: LatencyModel) -> list[str]:
    stitches = model.predictor.alone.estimates.get("stitch")
    if stitches is None:
        return ["No stitch was measured: donors cannot be combined."]
    return [
        f"Stitch latency: a model fitted to {stitches.parts} measured shapes, "
        f"{100 * stitches.error:.0f} % error on shapes left out."
    ]


def _prediction_note(wanted: Wanted, model: LatencyModel) -> list[str]:
    error, seen = model.predictor.relative_error, model.predictor.left_out
    if error is None:
        return []
    random = {str(network) for network in wanted.networks}
    return [
        f"Whole networks left out of the fit are predicted to {100 * error:.1f} % "
        f"({len(seen)} of them, {sum(one.name in random for one in seen)} random stitched ones)."
    ]


def _int8_note(wanted: Wanted, costs: Mapping[str, Measurement]) -> list[str]:
    ratios = []
    for key, structures in wanted.int8.items():
        floats = dict(zip(wanted.donors[key].names, wanted.donors[key].chain, strict=True))
        for name, structure in structures.blocks.items():
            if structure in costs and floats[name].key in costs:
                ratios.append(costs[structure].median_us / costs[floats[name].key].median_us)
    if not ratios:
        return []
    faster = sum(ratio < 1 for ratio in ratios)
    return [
        f"int8: {faster} of {len(ratios)} blocks are faster than in fp32; an int8 block takes "
        f"{100 * geometric_mean(ratios):.0f} % of its fp32 latency (geometric mean)."
    ]


def _precision_notes(target: Target, wanted: Wanted) -> list[str]:
    notes = []
    refused = [(name, why) for s in wanted.int8.values() for name, why in s.refused.items()]
    if refused:
        notes.append(
            f"{len(refused)} blocks cannot be had in int8. The first, {refused[0][0]}: "
            f"{refused[0][1]}"
        )
    other = [precision for precision in target.precisions if precision not in (FLOAT, INT8)]
    if other:
        notes.append(
            f"The target allows {' and '.join(other)}, which is not measured: this version makes "
            f"blocks in {FLOAT} and {INT8}."
        )
    return notes


def _absent_notes(costs: CostTable) -> list[str]:
    notes = []
    if costs.failures:
        why = next(iter(costs.failures.values()))
        notes.append(
            f"{len(costs.failures)} models could not be measured and are estimated from the "
            f"others. The first: {why}"
        )
    if costs.unmeasured:
        notes.append(
            f"{len(costs.unmeasured)} models are not measured yet and are estimated from the "
            "others: the time limit was over. The same command goes on with them."
        )
    return notes


def _noise_notes(costs: CostTable) -> list[str]:
    reasons: dict[str, int] = {}
    for cost in costs.costs.values():
        if cost.noise is not None:
            reasons[cost.noise] = reasons.get(cost.noise, 0) + 1
    if not reasons:
        return []
    noisy = sorted(
        (cost for cost in costs.costs.values() if cost.noisy), key=lambda c: -c.relative_half_width
    )
    worst = max(reasons, key=lambda reason: reasons[reason])
    named = ", ".join(f"{c.name} (+-{c.relative_half_width:.0%})" for c in noisy[:_NAMED])
    return [
        f"{len(noisy)} of {len(costs.costs)} measurements are noisy ({worst}"
        f"{', among other reasons' if len(reasons) > 1 else ''}), the widest: {named}. Close other "
        "programs, or use fewer threads (--target cpu:threads=1), and measure again with --fresh."
    ]
