"""`derycc build`: the best network for one budget, or that of a recipe, as a verified engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.options import (
    AsJson,
    CandidateCount,
    Data,
    DryRun,
    Home,
    JudgeData,
    Quick,
    Sizes,
    Stitches,
    TargetText,
    ViewCount,
    WeightsText,
    ZooText,
    frame,
    print_json,
)

if TYPE_CHECKING:
    from derycc.building import Request
    from derycc.manifest import Manifest
    from derycc.session import Options

LatencyText = Annotated[
    str | None,
    typer.Option(
        "--latency",
        help='Budget: 10ms, 500us, or "75% of MODEL"; with --recipe it may be left out.',
        show_default=False,
    ),
]
RecipeText = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Build the network of this recipe instead of searching for one: a file, or a name of "
        "derycc recipe list.",
        show_default=False,
    ),
]
Parameters = Annotated[
    str | None, typer.Option("--params", help="Most parameters, e.g. 5M.", show_default=False)
]
Macs = Annotated[
    str | None,
    typer.Option("--macs", help="Most multiply-accumulates, e.g. 400M.", show_default=False),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder of the build; HOME/builds/... if left out.", show_default=False
    ),
]


def build(
    home: Home,
    latency: LatencyText = None,
    recipe: RecipeText = None,
    weights: WeightsText = "pretrained",
    target: TargetText = "cpu",
    zoo: ZooText = None,
    size: Sizes = None,
    data: Data = None,
    judge_data: JudgeData = None,
    views: ViewCount = 2,
    out: Out = None,
    stitches: Stitches = 2,
    params: Parameters = None,
    macs: Macs = None,
    candidates: CandidateCount = 6,
    quick: Quick = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Assembles, compiles, measures and verifies the best network within a latency budget."""
    from derycc.building import Request
    from derycc.session import Options

    with frame():
        options = Options(home, target, zoo, tuple(size or ()), data, judge_data, views, quick)
        if recipe is not None:
            _check_free(size, params, macs)
            _build_by_hand(options, recipe, latency, weights, out, dry_run, as_json)
            return
        request = Request(_budget(latency), stitches, _count(params), _count(macs), candidates)
        _build(options, request, out, dry_run, as_json)


def _build(
    options: "Options", request: "Request", out: Path | None, dry_run: bool, as_json: bool
) -> None:
    from derycc.artifact import check_folder, write_artifact
    from derycc.building import build as search
    from derycc.building import out_folder, plan
    from derycc.console import Bars
    from derycc.session import open_workbench
    from targets.budget import parse_latency

    parse_latency(request.latency)
    with open_workbench(options, Bars(quiet=as_json), dry_run) as workbench:
        folder = out_folder(out, request, options.home, workbench)
        check_folder(folder)
        if dry_run:
            lines = plan(request, workbench, folder)
            print_json({"plan": lines}) if as_json else typer.echo("\n".join(lines))
            return
        papers = write_artifact(folder, search(request, workbench), request, options, workbench)
    _print(papers, folder, as_json)


def _build_by_hand(
    options: "Options",
    named: str,
    latency: str | None,
    weights: str,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    from compiler.recipe import read_recipe
    from compiler.recipe_zoo import parse_weights
    from derycc.artifact import check_folder, write_artifact
    from derycc.by_hand import (
        HandRequest,
        build_by_hand,
        hand_folder,
        open_recipe_bench,
        plan_by_hand,
    )
    from derycc.console import Bars
    from targets.budget import parse_latency

    if latency is not None:
        parse_latency(latency)
    request = HandRequest(named, latency, parse_weights(weights))
    folder = hand_folder(out, request, options.home, options.target)
    check_folder(folder)
    bars = Bars(quiet=as_json)
    with open_recipe_bench(read_recipe(named), request, options, bars, dry_run) as (recipe, bench):
        if dry_run:
            lines = plan_by_hand(recipe, bench, folder)
            print_json({"plan": lines}) if as_json else typer.echo("\n".join(lines))
            return
        built = build_by_hand(recipe, request, bench)
        papers = write_artifact(folder, built, request, options, bench)
    _print(papers, folder, as_json)


def _print(papers: "Manifest", folder: Path, as_json: bool) -> None:
    from derycc.console import stdout
    from derycc.printing import build_notes, build_table, network_lines

    if as_json:
        typer.echo(papers.to_json().decode())
        return
    typer.echo("\n".join(network_lines(papers)))
    stdout().print(build_table(papers))
    typer.echo("".join(f"Note: {note}\n" for note in build_notes(papers)), nl=False)
    typer.echo(f"Written to {folder}: model.onnx, report.html, manifest.json, run.py, ...")
    typer.echo(f"Try it: python {folder / 'run.py'} PHOTO")


def _budget(latency: str | None) -> str:
    from targets.errors import UsageError

    if latency is None:
        raise UsageError(
            "There is nothing to build: give a budget by --latency, or a network by --recipe."
        )
    return latency


def _check_free(size: list[int] | None, params: str | None, macs: str | None) -> None:
    from targets.errors import UsageError

    given = {"--size": size, "--params": params, "--macs": macs}
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise UsageError(
            f"{' and '.join(wrong)} bound a search, and a recipe leaves nothing to search for. "
            "Leave them out, or change the recipe."
        )


def _count(text: str | None) -> int | None:
    from targets.budget import parse_count

    return None if text is None else int(parse_count(text))
