"""`derycc sweep`: the best networks for a row of budgets."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.grouped_options import Bench, Constraints, Precisions, SweepSpending, grouped
from derycc.options import AlsoTexts, AsJson, ScoreText, Stitches, frame, print_json

if TYPE_CHECKING:
    from derycc.building import Request
    from derycc.session import Options


@grouped
def sweep(
    bench: Bench,
    constraints: Constraints,
    spending: SweepSpending,
    precisions: Precisions,
    budgets: Annotated[
        list[str] | None,
        typer.Option("--latency", help="A budget; may be repeated; a spread if left out."),
    ] = None,
    points: Annotated[int, typer.Option("--points", help="Budgets of the spread.", min=2)] = 6,
    also: AlsoTexts = None,
    stitches: Stitches = 2,
    score: ScoreText = None,
    as_json: AsJson = False,
) -> None:
    """Builds for a row of budgets and prints them beside the donors alone."""
    from derycc.also import parse_also
    from derycc.building import Request

    with frame():
        others = parse_also(also)
        options = precisions.of(bench.options(), score=score)
        options = replace(options, also=tuple(one.target for one in others))
        budget, licences = constraints.budget(stitches), constraints.licences
        request = Request(None, budget, licences=licences, also=others, **spending.fields())
        request = replace(request, score=score or "quality")
        _sweep(options, request, tuple(budgets or ()), points, as_json)


def _sweep(
    options: "Options", request: "Request", budgets: tuple[str, ...], points: int, as_json: bool
) -> None:
    from derycc.console import Bars, stdout
    from derycc.printing import candidate_data, donors_table
    from derycc.printing_sweep import (
        built_lines,
        point_data,
        point_lines,
        score_lines,
        summary,
        sweep_table,
    )
    from derycc.session import caution, open_workbench
    from derycc.sweeping import default_budgets, donors_alone
    from derycc.sweeping import sweep as run
    from targets.budget import parse_latency
    from targets.errors import VerificationError

    for text in budgets:
        parse_latency(text)
    with open_workbench(options, Bars(quiet=as_json)) as workbench:
        alone = donors_alone(workbench)
        texts = budgets or default_budgets(workbench, request, alone, points)
        found = run(workbench, request, texts, alone)
        note = caution(workbench.photographs)
    rows = [point_data(point) for point in found]
    if as_json:
        donors = [candidate_data(candidate) for candidate in alone]
        print_json({"donors": donors, "points": rows, "caution": note})
    else:
        out = stdout()
        out.print(donors_table(alone))
        out.print(sweep_table(rows))
        scored = score_lines(request.score, found)
        said = [*built_lines(rows), *point_lines(found), summary(rows), *scored]
        typer.echo("\n".join(said))
        typer.echo(f"Note: {note}\n" if note else "", nl=False)
    if any(point.exit_code == VerificationError.exit_code for point in found):
        raise typer.Exit(VerificationError.exit_code)
