"""`derycc verify`: a finished build, compared with its network again."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from derycc.options import AsJson, Data, Home, ZooText, frame, print_json

BuildFolder = Annotated[Path, typer.Argument(help="A folder that `derycc build` has written.")]


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
