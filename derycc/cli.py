"""The command line: reads options, calls the floors below, prints, exits with a known code."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from derycc import __version__
from derycc.doctor import diagnose

app = typer.Typer(
    name="derycc",
    help="Assembles networks for a latency budget out of blocks of pretrained networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def default_home() -> Path:
    """The folder for weights, measurements and builds: `$DERYCC_HOME`, else `.derycc` here."""
    return Path(os.environ.get("DERYCC_HOME") or ".derycc")


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
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Says what derycc finds on this machine and what is missing."""
    diagnosis = diagnose(default_home())
    if as_json:
        typer.echo(json.dumps({**asdict(diagnosis), "problems": diagnosis.problems}, indent=2))
    else:
        typer.echo("\n".join(diagnosis.lines()))
    raise typer.Exit(diagnosis.exit_code)


def main() -> None:
    """Runs the command that the process's arguments name."""
    app()
