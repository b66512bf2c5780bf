"""Printing: what a cost store holds, and what came of merging, cleaning and checking it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from statistics import median
from typing import Any

from rich.table import Table

from derycc.console import filled, milliseconds, table, without
from profilers.environment import Environment
from profilers.measurement import Measurement
from profilers.store_cleaning import Cleaned
from profilers.store_merge import Absorbed
from profilers.store_summary import EnvironmentSummary, StoreSummary
from profilers.validity import Validity

_WIDE = 100
"""Columns of a screen that has room for everything."""


def summary_table(found: StoreSummary) -> Table:
    """The environments."""
    columns = (
        "!environment",
        "target",
        "machine",
        "versions",
        ">models",
        ">rounds",
        "last measured",
    )
    rows = [
        (
            each.environment.fingerprint,
            each.environment.target,
            _machine(each.environment),
            _versions(each.environment),
            str(each.models),
            str(each.rounds),
            _time(each.last_measured),
        )
        for each in found.environments
    ]
    return table("Measured", columns, rows)


def summary_lines(found: StoreSummary) -> list[str]:
    """The store itself."""
    if not found.environments:
        return [f"{found.where} holds no measurement yet. Make some: derycc profile."]
    return [f"{found.where}: {size(found.size_bytes)}."]


def summary_data(found: StoreSummary) -> dict[str, Any]:
    """What a store holds for `--json`."""
    return {
        "store": found.where,
        "size_bytes": found.size_bytes,
        "environments": [_environment_data(each) for each in found.environments],
    }


def environment_lines(environment: Environment) -> list[str]:
    """What an environment is, in two lines."""
    governor = environment.governor or "unknown"
    return [
        f"{environment.fingerprint}: {environment.target} on {_machine(environment)}",
        f"{environment.backend} ({_versions(environment)}), {environment.threads} threads, "
        f"spinning {'on' if environment.spinning else 'off'}, governor {governor}, "
        f"power mode {environment.power_mode or 'unknown'}",
    ]


def models_table(costs: Mapping[str, Measurement], width: int = 140) -> Table:
    """What was measured of every model; on a screen of few columns not all of it."""
    columns = (
        "model",
        ">median",
        ">95 % interval (ms)",
        ">n",
        ">rounds",
        ">peak memory",
        ">load",
        ">energy",
        "noise",
    )
    rows = [
        (
            cost.name,
            milliseconds(cost.median_us),
            f"{cost.interval_us[0] / 1000:.3f} to {cost.interval_us[1] / 1000:.3f}",
            str(cost.n),
            str(len(cost.rounds)),
            size(cost.peak_bytes),
            milliseconds(1e6 * median(cost.load_seconds)),
            "-" if cost.joules is None else f"{1000 * cost.joules:.2f} mJ",
            cost.noise or "",
        )
        for cost in costs.values()
    ]
    unwanted = (">n", ">rounds", ">peak memory", ">load") if width < _WIDE else ()
    return table("Models", *filled(*without(columns, rows, unwanted)))


def models_data(environment: Environment, costs: Mapping[str, Measurement]) -> dict[str, Any]:
    """What was measured in an environment for `--json`; times in microseconds."""
    models = [
        {
            "key": cost.key,
            "name": cost.name,
            "median_us": cost.median_us,
            "interval_us": cost.interval_us,
            "p90_us": cost.p90_us,
            "p99_us": cost.p99_us,
            "n": cost.n,
            "rounds": len(cost.rounds),
            "noisy": cost.noisy,
            "noise": cost.noise,
            "peak_bytes": cost.peak_bytes,
            "load_seconds": median(cost.load_seconds),
            "joules": cost.joules,
            "contention": cost.contention,
        }
        for cost in costs.values()
    ]
    shown = {"fingerprint": environment.fingerprint, **asdict(environment)}
    return {"environment": shown, "models": models}


def absorbed_line(source: str, found: Absorbed, dry: bool) -> str:
    """What came of a merge or an import."""
    verb = "would take over" if dry else "took over"
    return (
        f"{source}: {verb} {found.rounds} rounds ({found.models} new models, "
        f"{found.environments} new environments); {found.known} were there already."
    )


def absorbed_data(found: Absorbed) -> dict[str, Any]:
    """The same for `--json`."""
    return asdict(found)


def cleaned_line(found: Cleaned, dry: bool) -> str:
    """What came of a cleaning."""
    said = f"{found.rounds} rounds, {found.models} models and {found.environments} environments"
    room = "" if found.freed_bytes is None else f", {'about ' * dry}{size(found.freed_bytes)}"
    return (
        f"Would remove {said}{room}. Nothing was (--dry-run)." if dry else f"Removed {said}{room}."
    )


def validity_table(found: Validity) -> Table:
    """Blocks measured again."""
    rows = [
        (
            shift.then.name,
            milliseconds(shift.then.median_us),
            milliseconds(shift.now.median_us),
            f"{100 * (shift.ratio - 1):+.1f} %",
            f"{100 * (shift.interval[0] - 1):+.1f} to {100 * (shift.interval[1] - 1):+.1f} %",
            ", ".join(filter(None, ("moved" if shift.moved else "", shift.now.noise))),
        )
        for shift in found.shifts
    ]
    columns = ("block", ">then", ">now", ">change", ">can be", "")
    return table("Measured again", columns, rows)


def size(count: int | None) -> str:
    """`1.5 MB` from bytes, a dash from None."""
    if count is None:
        return "-"
    if count < 1000:
        return f"{count} B"
    amount, unit = (count / 1e6, "MB") if count >= 1e6 else (count / 1e3, "kB")
    return f"{amount:.1f} {unit}"


def _environment_data(each: EnvironmentSummary) -> dict[str, Any]:
    environment, last = each.environment, each.last_measured
    return {
        "fingerprint": environment.fingerprint,
        **asdict(environment),
        "models": each.models,
        "rounds": each.rounds,
        "last_measured": None if last is None else last.isoformat(),
        "sample_bytes": each.sample_bytes,
    }


def _machine(environment: Environment) -> str:
    return f"{environment.cpu_model}, {environment.cores} cores, {environment.memory_gib} GiB"


def _versions(environment: Environment) -> str:
    return ", ".join(f"{name} {version}" for name, version in environment.versions)


def _time(time: datetime | None) -> str:
    return "-" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"
