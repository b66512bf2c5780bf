"""`derycc export`: a verified build as ONNX, ORT format, a Triton model repository, or a zip."""

from pathlib import Path
from typing import Annotated

import typer

from derycc.options import AsJson, BuildFolder, Data, Home, Unverified, frame, print_json

FormatText = Annotated[
    str, typer.Option("--format", help="onnx, ort, triton (a model repository) or zip.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="File or folder; beside the build if left out.", show_default=False),
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        help="Images at once, fixed; with triton the most that the server joins (8 if left out).",
        show_default=False,
        min=1,
    ),
]
Dynamic = Annotated[bool, typer.Option("--dynamic-batch", help="Any number of images at once.")]
Inside = Annotated[
    bool,
    typer.Option(
        "--with-preprocessing",
        help="Take uint8 (N, S, S, 3), and normalize inside the graph; resize before it.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def export(
    folder: BuildFolder,
    home: Home,
    form: FormatText,
    out: Out = None,
    batch: Batch = None,
    dynamic_batch: Dynamic = False,
    with_preprocessing: Inside = False,
    data: Data = None,
    force: Force = False,
    unverified: Unverified = False,
    as_json: AsJson = False,
) -> None:
    """Writes a build as others run it, once its answers are found to be the build's own."""
    from derycc.console import Bars
    from derycc.exporting import ExportRequest, export_build
    from derycc.session import Options

    with frame():
        request = ExportRequest(
            folder, form, out, batch, dynamic_batch, with_preprocessing, force, unverified
        )
        found = export_build(request, Options(home, data=data), Bars(quiet=as_json))
        if as_json:
            print_json(found.data())
        else:
            typer.echo("\n".join(found.lines()))
