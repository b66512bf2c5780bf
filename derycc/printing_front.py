"""Printing of the front: a table, plain data, and what must be said of it."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from derycc.alone import DonorAlone
from derycc.console import milliseconds, percent, table
from derycc.fronting import Front, FrontRow


def front_table(front: Front) -> Table:
    """One line a network."""
    elsewhere = front.rows[0].elsewhere if front.rows else ()
    columns = (
        ">budget",
        ">predicted",
        ">upper end",
        *(f">upper end on {target}" for target, _ in elsewhere),
        f">{front.score} expected",
        "proven",
        "network",
    )
    return table(
        "Best network for every latency, as the zoo's model predicts",
        columns,
        [_row(row) for row in front.rows],
    )


def alone_table(donors: tuple[DonorAlone, ...], score: str) -> Table:
    """One line a donor and input size."""
    columns = ("donor alone", ">input", ">measured", ">upper end", f">{score}", "within limits")
    return table("Donors alone, measured", columns, [_donor(donor) for donor in donors])


def front_lines(front: Front) -> list[str]:
    """What the reader should know."""
    lines = ["Predicted, not measured: derycc build measures what it gives for one budget."]
    first = front.rows[0].limit_us if front.rows else front.low_us
    if front.proven and first > front.low_us:
        what = "Below" if front.points is None else "At the budgets below"
        lines.append(f"{what} {milliseconds(first)} no network is predicted to be (proven).")
    if not front.proven:
        lines.append(_open(front))
    return lines


def _open(front: Front) -> str:
    """What is not proven, where time ran out."""
    said = []
    unproven = [milliseconds(row.limit_us) for row in front.rows if not row.proven]
    if unproven:
        said.append(f"what is best within {', '.join(unproven)} is not proven")
    if front.below_us is not None:
        said.append(f"budgets up to {milliseconds(front.below_us)} were not decided")
    return f"Time ran out: {', and '.join(said)}. Allow more --time-limit."


def front_data(front: Front) -> dict[str, Any]:
    """For `--json`."""
    return {
        "measured": False,
        "proven": front.proven,
        "undecided_below_us": front.below_us,
        "low_us": front.low_us,
        "high_us": front.high_us,
        "points": [
            {
                "limit_us": row.limit_us,
                "predicted_us": row.latency.median_us,
                "predicted_upper_us": row.latency.upper_us,
                "expected": row.quality,
                "proven": row.proven,
                "elsewhere": {target: asdict(latency) for target, latency in row.elsewhere},
                "network": asdict(row.network),
            }
            for row in front.rows
        ],
        "donors": donors_data(front.donors),
        "score": front.score,
    }


def donors_data(donors: tuple[DonorAlone, ...]) -> list[dict[str, Any]]:
    """Donors for `--json`."""
    return [
        {
            "donor": donor.model,
            "input_size": donor.size,
            "measured_us": donor.latency.median_us if donor.latency else None,
            "measured_upper_us": donor.latency.upper_us if donor.latency else None,
            "quality": donor.quality,
            "allowed": donor.allowed,
        }
        for donor in donors
    ]


def _row(row: FrontRow) -> tuple[str, ...]:
    return (
        milliseconds(row.limit_us),
        milliseconds(row.latency.median_us),
        milliseconds(row.latency.upper_us),
        *(milliseconds(latency.upper_us) for _, latency in row.elsewhere),
        percent(row.quality),
        "yes" if row.proven else "NO",
        str(row.network),
    )


def _donor(donor: DonorAlone) -> tuple[str, ...]:
    latency = donor.latency
    return (
        donor.model,
        f"{donor.size} px",
        milliseconds(latency.median_us if latency else None),
        milliseconds(latency.upper_us if latency else None),
        percent(donor.quality),
        "yes" if donor.allowed else "no",
    )
