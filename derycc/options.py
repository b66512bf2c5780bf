"""Options that several commands share, and the frame that every command runs in."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from derycc.cli import INTERRUPTED
from derycc.console import close_bars
from targets.errors import DeryccError, Interrupted

HOME_VARIABLE = "DERYCC_HOME"
STORE_VARIABLE = "DERYCC_STORE"


def default_home() -> Path:
    """The folder for weights, measurements and builds: `$DERYCC_HOME`, else `.derycc` here."""
    return Path(os.environ.get(HOME_VARIABLE) or ".derycc")


Home = Annotated[
    Path,
    typer.Option(
        "--home",
        help="Folder for weights, measurements and builds.",
        envvar=HOME_VARIABLE,
        show_default=".derycc",
        default_factory=default_home,
    ),
]
StoreText = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Cost store: a file, or a URL such as postgresql://user@host/database; "
        "HOME/costs.sqlite if left out.",
        envvar=STORE_VARIABLE,
        show_default=False,
    ),
]
BuildFolder = Annotated[Path, typer.Argument(help="A folder that `derycc build` has written.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Unverified = Annotated[
    bool,
    typer.Option(
        "--unverified",
        help="Go on where the engine failed derycc verify, or nobody ran it; that is printed.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
DryPlan = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be measured and built, and do nothing but fetch the donors and cut "
        "them into blocks.",
    ),
]
TargetText = Annotated[
    str,
    typer.Option(
        "--target", help="Device: cpu, cpu:threads=1, FILE.toml, ... (derycc targets list)."
    ),
]
AlsoTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        help='A latency that the same network is to keep on another target, e.g. "6ms on '
        'cpu:threads=2" or "75% of MODEL on box.toml"; may be repeated.',
        show_default=False,
    ),
]
ZooText = Annotated[
    str | None,
    typer.Option(
        "--zoo",
        help="Donors: a folder of .safetensors, ARCH=FILE, timm:NAME, torchvision:NAME, "
        "torchvision:NAME=FILE, random:ARCH (untrained), entry:NAME or MODULE:FUNCTION (your own "
        "code), or a comma list; the demo donors if left out. What is a file or folder is that, a "
        "text with one of these prefixes is what the prefix says, and it holds for the names "
        "after it.",
        show_default=False,
    ),
]
WeightsText = Annotated[
    str,
    typer.Option(
        "--weights",
        help="Of a recipe's models that are not in --zoo: pretrained (fetched) or random.",
    ),
]
Sizes = Annotated[
    list[int] | None,
    typer.Option(
        "--size",
        help="Input size in pixels that networks may have; may be repeated; the donors' own if "
        "left out.",
        show_default=False,
        min=32,
        max=2048,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Photographs to calibrate and judge with: a folder or .zip, labelled by labels.csv or "
        "class folders, or unlabelled; the 70 demo photographs if left out.",
        show_default=False,
    ),
]
JudgeData = Annotated[
    Path | None,
    typer.Option(
        "--judge-data",
        help="Photographs to judge with; a held-out half of --data if left out.",
        show_default=False,
    ),
]
ViewCount = Annotated[
    int, typer.Option("--views", help="Crops and flips of each calibration photograph.")
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Measure for a fifth of the time, less exactly.")
]

Stitches = Annotated[int, typer.Option("--stitches", help="Most stitching layers.", min=0)]
CandidateCount = Annotated[
    int, typer.Option("--candidates", help="Most networks to build and measure.", min=1)
]
PerRound = Annotated[
    int,
    typer.Option(
        "--per-round",
        help="Networks to build between two solves; with 1 each corrects the choice of the next.",
        min=1,
    ),
]
BuildSeconds = Annotated[
    float | None,
    typer.Option(
        "--build-seconds",
        help="Time to solve, build and measure candidates in; none is begun that is not expected "
        "to be finished by then. Profiling comes before it (derycc profile --budget-seconds bounds "
        "that), the final measurement and its check after it.",
        show_default=False,
    ),
]


ScoreText = Annotated[
    str | None,
    typer.Option(
        "--score",
        help="What networks are chosen by: quality (if left out), similarity, naswot, jacov, "
        "grad_norm, synflow or snip. By anything but quality, all --candidates are built.",
        show_default=False,
    ),
]


@contextmanager
def frame() -> Iterator[None]:
    """Turn derycc's errors into one paragraph on stderr and the documented exit code.

    Bugs stay bugs: any other exception keeps its traceback.
    """
    try:
        yield
    except DeryccError as error:
        close_bars()
        fail(error)
    except KeyboardInterrupt:
        close_bars()
        fail(Interrupted(INTERRUPTED))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    finally:
        close_bars()


def fail(error: DeryccError) -> None:
    """Print an error and leave with its exit code."""
    typer.echo(f"derycc: {error}", err=True)
    raise typer.Exit(error.exit_code)


def print_json(value: Any) -> None:
    """Print plain data as JSON; numbers that JSON does not have are null."""
    plain = json.loads(json.dumps(value), parse_constant=lambda _: None)
    typer.echo(json.dumps(plain, indent=2, allow_nan=False))
