"""`derycc front`: what every latency of a range would buy."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.grouped_options import Bench, Constraints, Precisions, grouped
from derycc.options import AlsoTexts, AsJson, Stitches, frame, print_json

if TYPE_CHECKING:
    from derycc.building import Request
    from derycc.session import Options
    from targets.budget import Latency

Range = Annotated[str, typer.Option("--latency", help="Least and largest budget, e.g. 5ms..30ms.")]
Points = Annotated[
    int | None,
    typer.Option(
        "--points",
        help="Budgets, evenly spaced; all at which the answer changes if left out.",
        show_default=False,
        min=1,
    ),
]
PlotOut = Annotated[
    Path | None,
    typer.Option("--out", help="Draw it into this file: .html, or .png.", show_default=False),
]
TimeLimit = Annotated[float, typer.Option("--time-limit", help="Seconds for solving.", min=0.1)]


@grouped
def front(
    bench: Bench,
    constraints: Constraints,
    precisions: Precisions,
    latency: Range,
    points: Points = None,
    also: AlsoTexts = None,
    stitches: Stitches = 2,
    time_limit: TimeLimit = 60.0,
    out: PlotOut = None,
    as_json: AsJson = False,
) -> None:
    """Prints the best network for every latency of a range, predicted; builds none of them."""
    from derycc.also import parse_also
    from derycc.building import Request
    from derycc.fronting import NO_LEAST
    from derycc.plotting import check_plot
    from targets.budget import parse_latency_range
    from targets.errors import UsageError

    with frame():
        if constraints.min_quality is not None:
            raise UsageError(NO_LEAST)
        span = parse_latency_range(latency)
        if out is not None:
            check_plot(out)
        others = parse_also(also)
        options = precisions.of(bench.options())
        options = replace(options, also=tuple(one.target for one in others))
        budget, licences = constraints.budget(stitches), constraints.licences
        request = Request(None, budget, licences=licences, also=others)
        _front(options, request, span, points, time_limit, out, as_json)


def _front(
    options: "Options",
    request: "Request",
    span: "tuple[Latency, Latency]",
    points: int | None,
    seconds: float,
    out: Path | None,
    as_json: bool,
) -> None:
    from derycc.console import Bars, stdout
    from derycc.fronting import draw_front
    from derycc.plotting import write_plot
    from derycc.printing_front import alone_table, front_data, front_lines, front_table
    from derycc.session import open_workbench

    with open_workbench(options, Bars(quiet=as_json)) as bench:
        found = draw_front(bench, request, span, points, seconds)
        if out is not None:
            write_plot(out, found, str(bench.target))
    if as_json:
        print_json(front_data(found))
        return
    stdout().print(front_table(found))
    stdout().print(alone_table(found.donors, found.score))
    drawn = [] if out is None else [f"Drawn into {out}."]
    typer.echo("\n".join([*front_lines(found), *drawn]))
