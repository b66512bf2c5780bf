"""`derycc build`: the best network for one budget, or that of a recipe, as a verified engine."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from derycc.grouped_options import Bench, Constraints, Precisions, Spending, grouped
from derycc.options import (
    AlsoTexts,
    AsJson,
    DryPlan,
    ScoreText,
    WeightsText,
    frame,
    print_json,
)

if TYPE_CHECKING:
    from compiler.dery_bench import DerySettings
    from compiler.recipe import Recipe
    from derycc.also import Also
    from derycc.building import Request
    from derycc.by_hand import HandRequest
    from derycc.each import Separate
    from derycc.lock import Lock
    from derycc.manifest import Manifest
    from derycc.session import Options

LatencyText = Annotated[
    str | None,
    typer.Option(
        "--latency",
        help='Budget: 10ms, 500us, or "75% of MODEL"; with another limit or --recipe it may be '
        "left out.",
        show_default=False,
    ),
]
RecipeText = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Build the network of this recipe instead of searching for one: a file, a name of "
        "derycc recipe list, or the derycc.lock of a build (same donors, same photographs).",
        show_default=False,
    ),
]
MostStitches = Annotated[
    int | None,
    typer.Option(
        "--stitches",
        help="Most stitching layers; 2 if left out, with --mode dery one between any two blocks.",
        show_default=False,
        min=0,
    ),
]
Mode = Annotated[
    str,
    typer.Option(
        "--mode",
        help="normal, or dery: donors are cut into blocks, blocks grouped into equivalence sets, "
        "and the network has one block of every set.",
    ),
]
Blocks = Annotated[
    int | None,
    typer.Option(
        "-k",
        help="With --mode dery: blocks of every donor, and equivalence sets; 4 if left out.",
        show_default=False,
        min=1,
    ),
]
Epsilon = Annotated[
    float | None,
    typer.Option(
        "--epsilon",
        help="With --mode dery: how much more than an even share of nodes a block may have; 0.2 "
        "if left out.",
        show_default=False,
        min=0,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="With --mode dery: of all that is random in it; 0 if left out.",
        show_default=False,
        min=0,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder of the build; HOME/builds/... if left out.", show_default=False
    ),
]


Each = Annotated[
    bool,
    typer.Option(
        "--each",
        help="With --also: instead of one network for all targets, the best for each by itself, "
        "in a folder each.",
    ),
]
ProblemOut = Annotated[
    Path | None,
    typer.Option(
        "--problem-out",
        help="Write what was solved to this file (derycc.problem/1), for derycc solve.",
        show_default=False,
    ),
]


@grouped
def build(
    bench: Bench,
    constraints: Constraints,
    spending: Spending,
    precisions: Precisions,
    latency: LatencyText = None,
    also: AlsoTexts = None,
    each: Each = False,
    recipe: RecipeText = None,
    weights: WeightsText = "pretrained",
    out: Out = None,
    stitches: MostStitches = None,
    mode: Mode = "normal",
    k: Blocks = None,
    score: ScoreText = None,
    epsilon: Epsilon = None,
    seed: Seed = None,
    problem_out: ProblemOut = None,
    dry_run: DryPlan = False,
    as_json: AsJson = False,
) -> None:
    """Assembles, compiles, measures and verifies the best network within budgets."""
    with frame():
        from derycc.also import parse_also

        others = parse_also(also)
        options = replace(bench.options(), also=tuple(one.target for one in others))
        options = precisions.of(options, mode, score)
        dery = _dery(mode, {"k": k, "epsilon": epsilon, "seed": seed}, score)
        if recipe is not None:
            _check_free(bench, constraints, dery or score, problem_out, others, precisions)
            _build_by_hand(options, recipe, latency, weights, out, dry_run, as_json)
            return
        asked = _request(latency, others, stitches, constraints, dery, spending)
        request = replace(asked, **_normal_score(mode, score))
        if each:
            _check_each(request, problem_out)
            _build_each(options, request, out, dry_run, as_json)
            return
        _build(options, request, out, problem_out, dry_run, as_json)


def _build(
    options: "Options",
    request: "Request",
    out: Path | None,
    problem_out: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    from derycc.artifact import check_folder, write_artifact
    from derycc.building import out_folder
    from derycc.console import Bars
    from derycc.each import comparable, separate_builds
    from derycc.planning import plan
    from derycc.problems import check_problem_file, solved
    from derycc.session import open_workbench
    from targets.budget import parse_latency

    if request.latency is not None:
        parse_latency(request.latency)
    if problem_out is not None:
        check_problem_file(problem_out)
    if out is not None:
        check_folder(out)
    with open_workbench(options, Bars(quiet=as_json), dry_run) as workbench:
        folder = out_folder(out, request, options.home, workbench)
        check_folder(folder)
        if dry_run:
            lines = plan(request, workbench, folder)
            print_json({"plan": lines}) if as_json else typer.echo("\n".join(lines))
            return
        built, bench = solved(request, workbench, problem_out)
        papers = write_artifact(folder, built, request, options, bench)
        separate = separate_builds(folder, out, request, options.home, workbench)
    _print(papers, folder, as_json)
    if not as_json and comparable(papers, separate):
        _print_each(separate, papers)


def _build_each(
    options: "Options", request: "Request", out: Path | None, dry_run: bool, as_json: bool
) -> None:
    from derycc.console import Bars
    from derycc.each import (
        build_each,
        common_build,
        comparable,
        each_folder,
        known,
        require,
        tasks,
    )
    from derycc.planning import plan
    from derycc.printing_each import each_data
    from derycc.session import open_workbench

    with open_workbench(options, Bars(quiet=as_json), dry_run) as workbench:
        todo = tasks(request, workbench, each_folder(out, request, options.home, workbench))
        if dry_run:
            lines = [line for one in todo for line in plan(one.request, one.bench, one.folder)]
            print_json({"plan": lines}) if as_json else typer.echo("\n".join(lines))
            return
        common = known(common_build(out, request, options.home, workbench))
        found = build_each(todo, options)
    beside = common if comparable(common, found) else None
    if as_json:
        print_json(each_data(found, beside))
    else:
        for one in found:
            if one.papers is not None:
                _print(one.papers, one.folder, as_json)
        _print_each(found, beside)
    require(found)


def _print_each(separate: "Sequence[Separate]", common: "Manifest | None") -> None:
    from derycc.console import stdout
    from derycc.printing_each import each_lines, each_table

    stdout().print(each_table(separate, common))
    typer.echo("\n".join(each_lines(separate, common)))


def _build_by_hand(
    options: "Options",
    named: str,
    latency: str | None,
    weights: str,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    from derycc.artifact import check_folder, write_artifact
    from derycc.by_hand import build_by_hand, hand_folder, open_recipe_bench, plan_by_hand
    from derycc.console import Bars
    from derycc.lock import is_lock, read_lock

    request = _hand_request(named, latency, weights)
    folder = hand_folder(out, request, options.home, options.target)
    check_folder(folder)
    lock = read_lock(Path(named)) if is_lock(named) else None
    if lock is not None:
        options = replace(options, views=lock.views, max_drop=lock.max_drop)
    wanted, bars = _network(named, lock), Bars(quiet=as_json)
    with open_recipe_bench(wanted, request, options, bars, dry_run) as (recipe, bench):
        if dry_run:
            lines = plan_by_hand(recipe, bench, folder)
            print_json({"plan": lines}) if as_json else typer.echo("\n".join(lines))
            return
        if lock is not None:
            lock.require(bench)
        built = build_by_hand(recipe, request, bench, () if lock is None else lock.int8)
        if lock is not None:
            built = replace(built, replayed=lock.compared(built.candidate))
        papers = write_artifact(folder, built, request, options, bench)
    _print(papers, folder, as_json)


def _hand_request(named: str, latency: str | None, weights: str) -> "HandRequest":
    from compiler.recipe_zoo import parse_weights
    from derycc.by_hand import HandRequest
    from targets.budget import parse_latency

    if latency is not None:
        parse_latency(latency)
    return HandRequest(named, latency, parse_weights(weights))


def _network(named: str, lock: "Lock | None") -> "Recipe":
    from compiler.recipe import read_recipe

    return read_recipe(named) if lock is None else lock.network(named)


def _print(papers: "Manifest", folder: Path, as_json: bool) -> None:
    from derycc.console import stdout
    from derycc.export_usage import build_usage
    from derycc.loop_words import certificate_lines
    from derycc.printing import build_notes, build_table, network_lines
    from derycc.printing_dery import sets_table

    if as_json:
        typer.echo(papers.to_json().decode())
        return
    typer.echo("\n".join(network_lines(papers)))
    if papers.dery is not None:
        stdout().print(sets_table(papers.dery))
    stdout().print(build_table(papers))
    if papers.certificate is not None:
        typer.echo("\n".join(certificate_lines(papers.certificate)))
    typer.echo("".join(f"Warning: {text}\n" for text in papers.warnings), nl=False)
    typer.echo("".join(f"Note: {note}\n" for note in build_notes(papers)), nl=False)
    if papers.replayed is not None:
        typer.echo(papers.replayed.verdict)
    typer.echo(f"Written to {folder}: model.onnx, report.html, manifest.json, run.py, ...")
    typer.echo("\n".join(["Use it:", *(f"    {line}" for line in build_usage(folder))]))


def _dery(mode: str, asked: dict[str, Any], score: str | None) -> "DerySettings | None":
    """The settings of DeRy mode; None: another mode."""
    from compiler.dery_bench import DerySettings
    from targets.errors import UnknownNameError, UsageError

    given = {name: value for name, value in asked.items() if value is not None}
    if mode == "dery":
        return DerySettings(**given) if score is None else DerySettings(**given, score=score)
    if mode != "normal":
        raise UnknownNameError("mode", mode, ("normal", "dery"))
    if given:
        options = " and ".join("-k" if name == "k" else f"--{name}" for name in given)
        verb = "belongs" if len(given) == 1 else "belong"
        raise UsageError(f"{options} {verb} to DeRy mode. Add --mode dery, or leave it out.")
    return None


def _normal_score(mode: str, score: str | None) -> dict[str, Any]:
    """The score as a field of a request, where DeRy mode does not have it."""
    return {} if mode == "dery" or score is None else {"score": score}


def _check_each(request: "Request", problem_out: Path | None) -> None:
    from targets.errors import UsageError

    if not request.also:
        raise UsageError(
            "--each builds for several targets, and --target is the only one. Name the others and "
            'their budgets, e.g. --also "6ms on cpu:threads=2", or leave --each out.'
        )
    if problem_out is not None:
        raise UsageError(
            "--problem-out writes one problem, and --each solves one a target. Leave one of the "
            "two out."
        )


def _request(
    latency: str | None,
    also: "tuple[Also, ...]",
    stitches: int | None,
    constraints: Constraints,
    dery: "DerySettings | None",
    spending: Spending,
) -> "Request":
    from derycc.building import Request
    from targets.errors import UsageError

    if stitches is None:
        stitches = 2 if dery is None else dery.k - 1
    budget = constraints.budget(stitches)
    if latency is None and not also and len(budget.amounts()) == 1 and budget.min_quality is None:
        raise UsageError(
            "There is nothing to build: give a budget by --latency, --params, --macs, --memory, "
            "--weight-memory or --energy, a goal by --min-quality, or a network by --recipe."
        )
    licences = constraints.licences
    return Request(latency, budget, dery=dery, licences=licences, also=also, **spending.fields())


def _check_free(
    bench: Bench,
    constraints: Constraints,
    chosen: "DerySettings | str | None",
    problem_out: Path | None,
    also: "tuple[Also, ...]",
    precisions: Precisions,
) -> None:
    from targets.errors import UsageError

    name = "--score" if isinstance(chosen, str) else "--mode"
    given = {"--size": bench.size, "--also": also, name: chosen, "--problem-out": problem_out}
    wrong = [name for name, value in given.items() if value]
    wrong[1:1] = (*constraints.given, *precisions.given)
    if wrong:
        verb = "bounds" if len(wrong) == 1 else "bound"
        raise UsageError(
            f"{' and '.join(wrong)} {verb} a search, and a recipe leaves nothing to search for. "
            "Leave them out, or change the recipe."
        )
