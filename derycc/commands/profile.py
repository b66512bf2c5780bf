"""`derycc profile`: what blocks, donors and stitches cost on a target."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.options import (
    AsJson,
    Data,
    DryRun,
    Home,
    Quick,
    Sizes,
    StoreText,
    TargetText,
    ZooText,
    frame,
    print_json,
)

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


def profile(
    home: Home,
    target: TargetText = "cpu",
    zoo: ZooText = None,
    size: Sizes = None,
    data: Data = None,
    quick: Quick = False,
    fresh: Fresh = False,
    budget_seconds: BudgetSeconds = None,
    store: StoreText = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measures every block, donor and stitch shape on the target; goes on where it was stopped."""
    from derycc.console import Bars
    from derycc.session import Options, open_workbench

    with frame():
        options = Options(home, target, zoo, tuple(size or ()), data, quick=quick, store=store)
        options = replace(options, fresh=fresh, budget_seconds=budget_seconds)
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
