"""`derycc bench`: a finished build, measured again, beside another and other runtimes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.options import (
    AsJson,
    BuildFolder,
    DryRun,
    Home,
    StoreText,
    Unverified,
    ZooText,
    frame,
    print_json,
)

if TYPE_CHECKING:
    from derycc.benching import BenchRequest, Compared

Device = Annotated[
    str | None,
    typer.Option("--target", help="Device; the build's own if left out.", show_default=False),
]
Against = Annotated[
    Path | None,
    typer.Option("--against", help="Another build to compare with.", show_default=False),
]
Peers = Annotated[
    str | None,
    typer.Option(
        "--peers",
        help="Runtimes to compare with, all given the same network as torch exports it: "
        "onnxruntime (its defaults), torch, torch.compile, openvino, or all.",
        show_default=False,
    ),
]
Batches = Annotated[
    str, typer.Option("--batches", help="Images of one inference, e.g. 1,2,4,8; each is measured.")
]
Rounds = Annotated[
    int, typer.Option("--rounds", help="How often every engine is measured in a comparison.")
]


def bench(
    folder: BuildFolder,
    home: Home,
    target: Device = None,
    store: StoreText = None,
    against: Against = None,
    peers: Peers = None,
    batches: Batches = "1",
    rounds: Rounds = 7,
    zoo: ZooText = None,
    unverified: Unverified = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measures a build again, by itself or beside others; exit code 4 if it misses its budget."""
    from derycc import checking
    from derycc.benching import compare, parse_request
    from derycc.console import Bars
    from derycc.session import Options

    with frame():
        request = parse_request(folder, against, peers, batches, rounds)
        if dry_run:
            _plan(request, as_json)
            return
        for one in (folder, against) if against else (folder,):
            caution = checking.verified(one, unverified)
            if caution is not None:
                typer.echo(caution, err=True)
        options, bars = Options(home, store=store, zoo=zoo), Bars(quiet=as_json)
        result = checking.bench(folder, options, target, bars)
        if not as_json:
            typer.echo("\n".join(result.lines()))
        wanted = against is not None or request.peers or request.batches != (1,)
        compared = compare(request, options, target, bars) if wanted else None
        if as_json:
            print_json({**result.data(), "comparison": _data(compared)})
        elif compared is not None:
            _print(compared)
        result.require()


def _plan(request: "BenchRequest", as_json: bool) -> None:
    from derycc.manifest import read_manifest

    for folder in (request.folder, request.against):
        if folder is not None:
            read_manifest(folder)
    lines = request.plan()
    print_json({"plan": lines}) if as_json else typer.echo("\n".join(lines))


def _print(compared: "Compared") -> None:
    from derycc.console import stdout
    from derycc.printing_bench import bench_lines, bench_table

    stdout().print(bench_table(compared))
    typer.echo("\n".join(bench_lines(compared)))


def _data(compared: "Compared | None") -> dict[str, object] | None:
    from derycc.printing_bench import bench_data

    return None if compared is None else bench_data(compared)
