"""`derycc predict`: the latency of a network from the profile of its donors, and why."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.options import (
    AsJson,
    Data,
    DryPlan,
    Home,
    Quick,
    Sizes,
    StoreText,
    WeightsText,
    ZooText,
    frame,
    print_json,
)

if TYPE_CHECKING:
    from derycc.predicting import Foretold, Pending


What = Annotated[
    str, typer.Argument(help="A build's folder, a recipe's file or name, or a donor's name.")
]
Device = Annotated[
    str | None,
    typer.Option(
        "--target", help="Device; the build's own, else cpu, if left out.", show_default=False
    ),
]
Measure = Annotated[
    bool, typer.Option("--measure", help="Measure the whole network too, and compare.")
]
Blocks = Annotated[bool, typer.Option("--blocks", help="A row for every block.")]


def predict(
    what: What,
    home: Home,
    target: Device = None,
    zoo: ZooText = None,
    size: Sizes = None,
    data: Data = None,
    quick: Quick = False,
    store: StoreText = None,
    weights: WeightsText = "random",
    measure: Measure = False,
    blocks: Blocks = False,
    dry_run: DryPlan = False,
    as_json: AsJson = False,
) -> None:
    """Predicts a network's latency as a waterfall of its parts; measures parts that are missing."""
    from compiler.recipe_zoo import parse_weights
    from derycc.console import Bars
    from derycc.predicting import open_foretelling
    from derycc.session import Options, home_of
    from derycc.subjects import open_subject

    with frame():
        progress = Bars(quiet=as_json)
        home = home_of(Path(what), home)
        options = Options(home, "cpu", zoo, tuple(size or ()), data, quick=quick, store=store)
        subject = open_subject(what, options, parse_weights(weights), progress)
        told = replace(options, target=target or subject.target)
        with open_foretelling(subject, told, progress, dry_run) as network:
            if dry_run:
                _plan(network.pending(measure), as_json)
            else:
                _show(network.foretell(measure), blocks, as_json)


def _plan(pending: "Pending", as_json: bool) -> None:
    from derycc.printing_predict import pending_lines

    lines = "\n".join(pending_lines(pending))
    print_json(asdict(pending)) if as_json else typer.echo(lines)


def _show(found: "Foretold", blocks: bool, as_json: bool) -> None:
    from derycc.console import stdout
    from derycc.printing_predict import predict_data, predict_lines, predict_table

    if as_json:
        print_json(predict_data(found, blocks))
        return
    console = stdout()
    mark = "#" if console.options.ascii_only else "█"
    console.print(predict_table(found, blocks, mark, console.width))
    typer.echo("\n".join(predict_lines(found)))
