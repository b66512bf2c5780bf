"""`derycc bench` and `derycc verify`: a finished build, measured and compared again."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from derycc.options import AsJson, Data, Home, StoreText, ZooText, frame, print_json

BuildFolder = Annotated[Path, typer.Argument(help="A folder that `derycc build` has written.")]


def bench(
    folder: BuildFolder,
    home: Home,
    target: Annotated[
        str | None,
        typer.Option("--target", help="Device; the build's own if left out.", show_default=False),
    ] = None,
    store: StoreText = None,
    as_json: AsJson = False,
) -> None:
    """Measures a build again and compares it with its budget; exit code 4 if it is missed."""
    from derycc import checking
    from derycc.console import Bars
    from derycc.session import Options

    with frame():
        result = checking.bench(folder, Options(home, store=store), target, Bars(quiet=as_json))
        if as_json:
            print_json(result.data())
        else:
            typer.echo("\n".join(result.lines()))
        result.require()


def verify(
    folder: BuildFolder,
    home: Home,
    zoo: ZooText = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Compares a build's engine with its torch network on photographs; exit code 5 if it fails."""
    from derycc import checking
    from derycc.console import Bars
    from derycc.session import Options

    with frame():
        options = Options(home, zoo=zoo, data=data)
        result = checking.verify_build(folder, options, Bars(quiet=as_json))
        if as_json:
            print_json({**asdict(result), "passed": result.passed})
        else:
            typer.echo(checking.verification_line(result))
        checking.require(result)
