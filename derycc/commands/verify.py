"""`derycc verify`: a finished build's engine beside its torch network."""

from typing import Annotated

import typer

from derycc.options import AsJson, BuildFolder, Data, Home, ZooText, frame, print_json


def verify(
    folder: BuildFolder,
    home: Home,
    zoo: ZooText = None,
    data: Data = None,
    images: Annotated[
        int, typer.Option("--images", help="Most photographs to compare on.", min=1)
    ] = 64,
    as_json: AsJson = False,
) -> None:
    """Compares a build's engine with its torch network on photographs; exit code 5 if it fails.

    Where it fails, the first segment, stitch and module that differ are named. What was found is
    written to the build's verify.json, without which nothing is benchmarked or exported.
    """
    from derycc.console import Bars
    from derycc.session import Options
    from derycc.verifying import verify_build

    with frame():
        options = Options(home, zoo=zoo, data=data)
        found = verify_build(folder, options, Bars(quiet=as_json), images)
        if as_json:
            print_json(found.data())
        else:
            typer.echo("\n".join(found.lines()))
        found.require()
