"""`derycc doctor`: what is missing on this machine, for derycc or for one target."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from derycc.options import AsJson, Home, frame, print_json

DoctorTarget = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="A target to examine instead of derycc itself (derycc targets list).",
        show_default=False,
    ),
]


def doctor(home: Home, target: DoctorTarget = None, as_json: AsJson = False) -> None:
    """Says what derycc, or one target, finds on this machine and what is missing.

    Exit code 0: usable, remarks allowed; 6: not usable.
    """
    with frame():
        _machine(home, as_json) if target is None else _target(target, as_json)


def _machine(home: Path, as_json: bool) -> None:
    from derycc.doctor import diagnose

    diagnosis = diagnose(home)
    if as_json:
        typer.echo(json.dumps({**asdict(diagnosis), "problems": diagnosis.problems}, indent=2))
    else:
        typer.echo("\n".join(diagnosis.lines()))
    raise typer.Exit(diagnosis.exit_code)


def _target(text: str, as_json: bool) -> None:
    from derycc.target_doctor import examine
    from targets.facts import Facts
    from targets.target import get_target

    diagnosis = examine(get_target(text), Facts.read(), steps=True)
    print_json(diagnosis.data()) if as_json else typer.echo("\n".join(diagnosis.lines()))
    raise typer.Exit(diagnosis.exit_code)
