"""Printing of a comparison: every contestant's time and throughput, and the verdicts."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from derycc.benching import BUILD, Compared
from derycc.console import milliseconds, table
from profilers.verdict import SAME_WITHIN, Ratio

_COLUMNS = (
    *("engine", ">batch", ">median", ">95 % interval (ms)", ">images/s"),
    *(">its time / the build's", "!the build is"),
)


def bench_table(found: Compared) -> Table:
    """One line a contestant and batch."""
    rows = [_row(row) for row in bench_data(found)["engines"]]
    return table(f"Measured on {found.target}, {found.request.rounds} rounds", _COLUMNS, rows)


def bench_lines(found: Compared) -> list[str]:
    """What the reader should know."""
    lines = [f"Not measured: {key}: {why}" for key, why in found.failures.items()]
    lines.append(
        f"A ratio above 1 means that the build is faster. SAME: its 95 % interval is within "
        f"{SAME_WITHIN:.0%} of 1; AMBIGUOUS: it is too wide to tell (close other programs, or ask "
        f"for more --rounds)."
    )
    return lines


def bench_data(found: Compared) -> dict[str, Any]:
    """For `--json`."""
    engines, pairs = [], []
    for batch in found.request.batches:
        ratios = list(found.pairs(batch))
        beside = {other: ratio for mine, other, ratio in ratios if mine == BUILD}
        for name in found.request.contestants:
            key = f"{name}@{batch}"
            if key in found.contest.keys:
                engines.append(_engine(found, name, batch, beside.get(name)))
        pairs += [
            {"first": mine, "second": other, "batch": batch, **_ratio(ratio)}
            for mine, other, ratio in ratios
        ]
    return {
        "target": found.target,
        "rounds": found.request.rounds,
        "engines": engines,
        "pairs": pairs,
        "not_measured": found.failures,
    }


def _engine(found: Compared, name: str, batch: int, ratio: Ratio | None) -> dict[str, Any]:
    measured = found.contest.measurement(f"{name}@{batch}")
    return {
        "name": name,
        "batch": batch,
        "median_us": measured.median_us,
        "interval_us": measured.interval_us,
        "images_per_second": batch * 1e6 / measured.median_us,
        "noisy": measured.noise,
        "beside_build": None if ratio is None else _ratio(ratio),
    }


def _ratio(ratio: Ratio) -> dict[str, Any]:
    return {
        "ratio": ratio.value,
        "interval": (ratio.low, ratio.high),
        "verdict": str(ratio.verdict),
    }


def _row(engine: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = engine["interval_us"]
    beside = engine["beside_build"]
    said = ("", "")
    if beside is not None:
        least, most = beside["interval"]
        said = f"{beside['ratio']:.3f} ({least:.3f} to {most:.3f})", beside["verdict"]
    return (
        engine["name"],
        str(engine["batch"]),
        milliseconds(engine["median_us"]) + (" noisy" if engine["noisy"] else ""),
        f"{low / 1000:.2f} to {high / 1000:.2f}",
        f"{engine['images_per_second']:.1f}",
        *said,
    )
