"""The command line: reads options, calls the floors below, prints, exits with a known code.

Commands import what they need when they run, so that `derycc --help` answers at once.
"""

from typing import Annotated

import typer

from derycc import __version__, commands

EXIT_CODES = """
Exit codes: 0 done; 2 usage, or no answer in the solver's time; 3 infeasible (says the fastest
possible); 4 measured budget missed; 5 verification failed; 6 target unreachable or busy; 7 zoo or
data unusable; 130 interrupted (what was measured is kept).
"""

app = typer.Typer(
    name="derycc",
    help="Assembles networks for a latency budget out of blocks of pretrained networks.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
zoo_app = typer.Typer(help="Donors: the pretrained networks at hand.", no_args_is_help=True)
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


commands.register(app, zoo_app)
