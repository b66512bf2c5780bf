"""`derycc profile`: what blocks, donors and stitches cost on a target."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.grouped_options import Measuring, grouped
from derycc.options import AsJson, DryPlan, frame, print_json

if TYPE_CHECKING:
    from compiler.workbench import Workbench


Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh/--resume",
        help="Measure anew what is already measured, or go on where the last run stopped.",
    ),
]
BudgetSeconds = Annotated[
    float | None,
    typer.Option(
        "--budget-seconds",
        help="Time to measure in: what matters most comes first, the rest is estimated.",
        show_default=False,
    ),
]


@grouped
def profile(
    bench: Measuring,
    fresh: Fresh = False,
    budget_seconds: BudgetSeconds = None,
    dry_run: DryPlan = False,
    as_json: AsJson = False,
) -> None:
    """Measures every block, donor and stitch shape on the target; goes on where it was stopped."""
    from derycc.console import Bars
    from derycc.session import open_workbench

    with frame():
        options = replace(bench.options(), fresh=fresh, budget_seconds=budget_seconds)
        with open_workbench(options, Bars(quiet=as_json), dry_run) as workbench:
            if dry_run:
                _plan(workbench, budget_seconds, as_json)
            else:
                _profile(workbench, as_json)


def _plan(workbench: "Workbench", budget_seconds: float | None, as_json: bool) -> None:
    from derycc.printing_profile import plan_lines

    plan = workbench.profile.plan(workbench.wanted, budget_seconds)
    print_json(asdict(plan)) if as_json else typer.echo("\n".join(plan_lines(plan)))


def _profile(workbench: "Workbench", as_json: bool) -> None:
    from derycc.console import stdout
    from derycc.printing_profile import profile_data, profile_notes, profile_table

    if as_json:
        print_json(profile_data(workbench))
    else:
        stdout().print(profile_table(workbench))
        typer.echo("\n".join(profile_notes(workbench)))
