"""The command line: reads options, calls the floors below, prints, exits with a known code.

Commands import what they need when they run, so that `derycc --help` answers at once.
"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from derycc import __version__, commands
from derycc.doctor import diagnose
from derycc.options import AsJson, Home, frame, print_json

EXIT_CODES = """
Exit codes: 0 done; 2 usage; 3 infeasible (says the fastest possible); 4 measured budget missed;
5 verification failed; 6 target unreachable or busy; 7 zoo or data unusable; 130 interrupted (what
was measured is kept).
"""

app = typer.Typer(
    name="derycc",
    help="Assembles networks for a latency budget out of blocks of pretrained networks.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
targets_app = typer.Typer(help="Devices that networks are built for.", no_args_is_help=True)
zoo_app = typer.Typer(help="Donors: the pretrained networks at hand.", no_args_is_help=True)
app.add_typer(targets_app, name="targets")
app.add_typer(zoo_app, name="zoo")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"derycc {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Assembles networks for a latency budget out of blocks of pretrained networks."""


@app.command()
def doctor(home: Home, as_json: AsJson = False) -> None:
    """Says what derycc finds on this machine and what is missing."""
    diagnosis = diagnose(home)
    if as_json:
        typer.echo(json.dumps({**asdict(diagnosis), "problems": diagnosis.problems}, indent=2))
    else:
        typer.echo("\n".join(diagnosis.lines()))
    raise typer.Exit(diagnosis.exit_code)


@targets_app.command("list")
def targets_list(as_json: AsJson = False) -> None:
    """Lists the targets that `--target` takes."""
    from targets.target import list_targets

    with frame():
        found = list_targets()
        if as_json:
            print_json([asdict(target) for target in found])
            return
        for target in found:
            typer.echo(
                f"{target.name:12} backend {target.backend}, {target.threads} threads, "
                f"{'+'.join(target.precisions)}, {target.transport}"
            )
        typer.echo("Options follow a colon: cpu:threads=1,spinning=off")


commands.register(app, zoo_app)


def main() -> None:
    """Runs the command that the process's arguments name."""
    app()
