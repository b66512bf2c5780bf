"""`derycc partition`: all donors cut into blocks, and the blocks in equivalence sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.options import AsJson, Data, DryPlan, Home, JudgeData, ZooText, frame, print_json

if TYPE_CHECKING:
    from derycc.partitioning import PartitionRequest
    from derycc.session import Options

Blocks = Annotated[
    int, typer.Option("-k", "--blocks", help="Blocks of every donor, and sets.", min=1)
]
Epsilon = Annotated[
    str,
    typer.Option(
        "--epsilon",
        help="Cap on a block's nodes: (1 + EPSILON) times an even share of its donor's; or none.",
    ),
]
ParamEpsilon = Annotated[
    str,
    typer.Option(
        "--param-epsilon", help="The same of parameters; a single node is always allowed."
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        help="Input size in pixels at which donors are compared; their own if left out.",
        show_default=False,
        min=32,
        max=2048,
    ),
]
MeasureName = Annotated[
    str, typer.Option("--measure", help="linear_cka, rbf_cka or linear_regression.")
]
Biased = Annotated[bool, typer.Option("--biased", help="Take the biased estimator of CKA.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the search.", min=0)]
Starts = Annotated[int, typer.Option("--starts", help="Random starts of the search.", min=1)]
TimeLimit = Annotated[
    float,
    typer.Option("--time-limit", help="Effort of bound and proof, each in seconds of one core."),
]
Exact = Annotated[
    str,
    typer.Option("--exact", help="Proof by an integer program: auto, always or never."),
]
Device = Annotated[str, typer.Option("--device", help="Where donors run: cpu, cuda, cuda:1.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="File of the partition; HOME/partitions/... if left out.", show_default=False
    ),
]


def partition(
    home: Home,
    zoo: ZooText = None,
    k: Blocks = 4,
    epsilon: Epsilon = "0.2",
    param_epsilon: ParamEpsilon = "none",
    data: Data = None,
    judge_data: JudgeData = None,
    size: Size = None,
    measure: MeasureName = "linear_cka",
    biased: Biased = False,
    seed: Seed = 0,
    starts: Starts = 20,
    time_limit: TimeLimit = 60.0,
    exact: Exact = "auto",
    device: Device = "cpu",
    out: Out = None,
    dry_run: DryPlan = False,
    as_json: AsJson = False,
) -> None:
    """Cuts all donors into blocks and groups what computes much the same."""
    from derycc.partitioning import PartitionRequest, parse_epsilon, parse_exact
    from derycc.session import Options

    with frame():
        options = Options(home, zoo=zoo, data=data, judge_data=judge_data)
        caps = parse_epsilon("--epsilon", epsilon), parse_epsilon("--param-epsilon", param_epsilon)
        request = PartitionRequest(
            k, *caps, size, measure, biased, seed, starts, time_limit, parse_exact(exact), device
        )
        _partition(options, request, out, dry_run, as_json)


def _partition(
    options: "Options", request: "PartitionRequest", out: Path | None, dry: bool, as_json: bool
) -> None:
    from derycc.console import Bars, stdout
    from derycc.partitioning import (
        check_file,
        partition_file,
        partition_zoo,
        plan_partition,
        write_partition,
    )
    from derycc.printing_partition import partition_lines, partition_table

    path, bars = partition_file(out, request, options), Bars(quiet=as_json)
    check_file(path)
    if dry:
        lines = plan_partition(request, options, path, bars)
        print_json({"plan": lines}) if as_json else typer.echo("\n".join(lines))
        return
    found = partition_zoo(request, options, bars)
    write_partition(path, found)
    if as_json:
        typer.echo(found.to_json(), nl=False)
        return
    stdout().print(partition_table(found))
    typer.echo("\n".join([*partition_lines(found), f"Written to {path}."]))
