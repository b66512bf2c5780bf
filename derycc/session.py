"""A session: from the options of a command to a workbench."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from backends.trt_plans import FOLDER as PLANS
from compiler.candidates import Photographs
from compiler.fetch import fetch_images
from compiler.images import ImageSet, load_images
from compiler.judged import MAX_DROP
from compiler.precisions import FLOAT
from compiler.progress import Progress
from compiler.workbench import Settings, Workbench
from compiler.zoo import Zoo, open_zoo
from derycc.manifest import NAME as MANIFEST
from derycc.precision import with_precision
from profilers.protocol import Protocol
from profilers.selection import Limit
from profilers.store import CostStore
from profilers.store_copy import snapshot
from profilers.surroundings import capture
from targets.errors import UsageError, WorkspaceError
from targets.scratch import scratch_folder
from targets.target import Target, get_target

FEW_IMAGES = 1000
"""Below this many held-out images a difference of a few points says nothing."""

COSTS = "costs.sqlite"
"""The cost store in the home folder."""

KNOWN = ("cache/**/structures", "cache/**/parts", "cache/**/int8")
"""What is known of every block without exporting it again, as patterns in the home folder."""

DEMO_PHOTOGRAPHS = "demo photographs"
"""What a manifest calls the photographs that are used where the user names none."""

WHOLE_PROTOCOL = Protocol(rounds=5, max_seconds=0.3)
"""How whole networks are measured: promises are kept or broken by these numbers."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the commands have in common.

    Attributes:
        home: workspace folder.
        target: as the user wrote it.
        zoo: as the user wrote it; None: the demo donors.
        sizes: input sizes in pixels; empty: the donors' own.
        data: photographs to calibrate with; None: the demo photographs.
        judge_data: photographs to judge with; None: half of `data`.
        views: crops and flips of each calibration photograph.
        quick: measure with the quick protocol.
        fresh: measure blocks anew even if the store has them.
        store: file or URL of the cost store; None: the one in the home folder.
        budget_seconds: time to measure blocks in; None: all the time that it takes.
        also: other targets that networks have budgets on, as the user wrote them.
        precision: fp32, int8 or auto.
        max_drop: most score that int8 may cost a network, as a share.
    """

    home: Path
    target: str = "cpu"
    zoo: str | None = None
    sizes: tuple[int, ...] = ()
    data: Path | None = None
    judge_data: Path | None = None
    views: int = 2
    quick: bool = False
    fresh: bool = False
    store: str | None = None
    budget_seconds: float | None = None
    also: tuple[str, ...] = ()
    precision: str = FLOAT
    max_drop: float = MAX_DROP

    def __post_init__(self) -> None:
        """Checks the time limit, before anything that takes time."""
        Limit(self.budget_seconds)

    @property
    def costs(self) -> str | Path:
        """Where measurements are kept."""
        return self.store or self.home / COSTS


@contextmanager
def open_workbench(
    options: Options, progress: Progress, dry: bool = False, zoo: Zoo | None = None
) -> Iterator[Workbench]:
    """Everything that a command needs, from its options; closes the cost store afterwards.

    Args:
        options: of the command.
        progress: told about everything that takes time.
        dry: leave the home folder as it is: work on a copy of its cost store, fetch no photographs.
            Only donors that are not there yet are fetched: without them there is nothing to plan.
        zoo: the donors; None: those that the options name.

    Raises:
        UsageError: an option names something that is not there.
        ZooError, DataError: weights or images cannot be used.
        WorkspaceError: the home folder cannot be written.
        TargetUnavailableError: a target cannot be used here.
    """
    target, *elsewhere = _targets(options)
    target = with_precision(target, options.precision, options.also)
    if not dry or options.home.exists():
        make_home(options.home)
    for one in (target, *elsewhere):
        capture(one)  # refused now, and not when everything has been fetched and cut
    zoo = zoo or open_zoo(options.home, options.zoo, progress)
    own = tuple(sorted({model.preprocessing.input_size for model in zoo}))
    wanted = not dry or options.data is not None or options.judge_data is not None
    images = open_photographs(options, progress) if wanted else None
    with _places(options, dry) as (home, costs), CostStore(costs) as store:
        settings = Settings(
            home,
            options.sizes or own,
            *_protocols(options.quick),
            fresh=options.fresh,
            budget_seconds=options.budget_seconds,
            precision=options.precision,
            max_drop=options.max_drop,
        )
        yield Workbench(zoo, target, store, settings, progress, images, tuple(elsewhere))


def _targets(options: Options) -> list[Target]:
    """The target to build for, and the others.

    Raises:
        UsageError: two of them are the same.
    """
    found = [get_target(text) for text in (options.target, *options.also)]
    for text, target in zip(options.also, found[1:], strict=True):
        if found.count(target) > 1:
            raise UsageError(
                f"The target {text} (--also) is named twice: {options.target} is what is built "
                f"for (--target), others are {', '.join(options.also)}. Name each once, and give "
                "the budget on the first by --latency."
            )
    return found


@contextmanager
def _places(options: Options, dry: bool) -> Iterator[tuple[Path, str | Path]]:
    """Home folder and cost store, or copies of what planning reads of them, thrown away later."""
    if not dry:
        yield options.home, options.costs
        return
    with scratch_folder() as temporary:
        for folder in chain.from_iterable(map(options.home.glob, KNOWN)):
            shutil.copytree(folder, temporary / folder.relative_to(options.home))
        yield temporary, snapshot(options.costs, temporary)


def make_home(home: Path) -> None:
    """Make the workspace folder, or say why it cannot be."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkspaceError(
            f"Cannot make the workspace folder {home}: {error.strerror}. Name another with --home "
            "or the DERYCC_HOME variable."
        ) from error
    # Backends know no home; those that build engines keep them where this says.
    os.environ.setdefault(PLANS, str(home.resolve() / "cache" / "plans"))


def home_of(build: Path, asked: Path) -> Path:
    """Where a build's measurements are.

    Args:
        build: its folder; anything else is looked for where it was asked.
        asked: the home folder that was named; one that has a cost store is taken.

    Returns:
        The home folder that the build lies in, if that alone has a cost store.
    """
    around = build.resolve().parent.parent
    if (asked / COSTS).exists() or not (build / MANIFEST).is_file():
        return asked
    return around if (around / COSTS).exists() else asked


def open_photographs(options: Options, progress: Progress) -> Photographs:
    """The calibration and held-out images that the options name, or the demo photographs."""
    if options.views < 1:
        raise UsageError(f"Cannot use {options.views} views of a photograph. Use at least 1.")
    if options.data is None and options.judge_data is not None:
        raise UsageError("--judge-data needs --data: name the photographs to calibrate with too.")
    folder = options.data or fetch_images(options.home, progress)
    images = load_images(folder)
    if options.judge_data is not None:
        return Photographs(images, load_images(options.judge_data), options.views)
    calibration, held_out = images.split(0.5)
    return Photographs(calibration, held_out, options.views)


def caution(photographs: Photographs) -> str | None:
    """What must be said of results from so few images; None where there are enough."""
    few = len(photographs.held_out)
    if few >= FEW_IMAGES:
        return None
    return (
        f"Quality is measured on {few} held-out photographs (standard error about "
        f"{usual_error(few):.0f} "
        f"points): enough to see that a network works, too few for a claim. Use --data with at "
        f"least {2 * FEW_IMAGES} labelled photographs of your own task."
    )


def usual_error(images: int) -> float:
    """Standard error, in points, of a share of 80 percent that is counted on so many images."""
    return float(100 * (0.8 * 0.2 / images) ** 0.5)


def labelled(images: ImageSet) -> bool:
    """Whether top-1 can be counted."""
    return images.labels is not None


def _protocols(quick: bool) -> tuple[Protocol, Protocol]:
    if quick:
        return Protocol.quick(), Protocol.quick()
    return Protocol(max_seconds=0.15), WHOLE_PROTOCOL
