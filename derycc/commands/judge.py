"""`derycc judge`: what stitches really cost, so that builds predict quality better."""

from typing import TYPE_CHECKING, Annotated

import typer

from derycc.grouped_options import Bench, grouped
from derycc.options import AsJson, DryPlan, frame, print_json

if TYPE_CHECKING:
    from derycc.judging import JudgedZoo

Networks = Annotated[
    int,
    typer.Option(
        "--networks",
        help="Networks of one stitch to judge; those judged before are read back and count.",
        min=1,
    ),
]


@grouped
def judge(
    bench: Bench, networks: Networks = 40, dry_run: DryPlan = False, as_json: AsJson = False
) -> None:
    """Judges networks of one stitch, so that later builds know better what stitches cost."""
    from derycc.console import Bars
    from derycc.judging import judge as judged
    from derycc.judging import plan
    from derycc.session import open_workbench

    with frame(), open_workbench(bench.options(), Bars(quiet=as_json), dry_run) as workbench:
        if dry_run:
            lines = plan(workbench, networks)
            print_json({"plan": lines}) if as_json else typer.echo("\n".join(lines))
            return
        _print(judged(workbench, networks), as_json)


def _print(found: "JudgedZoo", as_json: bool) -> None:
    from derycc.console import stdout
    from derycc.printing_judge import accuracy_table, drops_table, judge_data, judge_lines

    if as_json:
        print_json(judge_data(found))
        return
    stdout().print(drops_table(found))
    if found.accuracies:
        stdout().print(accuracy_table(found))
    typer.echo("\n".join(judge_lines(found)))
