"""Each: the best network for every target by itself, beside one that is good for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compiler.workbench import Workbench
from derycc.artifact import check_folder, write_artifact
from derycc.building import Request, folder_name, out_folder
from derycc.manifest import NAME, Manifest, read_manifest
from derycc.problems import solved
from derycc.session import Options
from targets.budget import LATENCY, target_of
from targets.errors import REFUSALS, DeryccError, UsageError

COMMON = "common"
"""The common network's folder beside those of the targets, where `--out` names the folder."""


@dataclass(frozen=True, slots=True)
class Task:
    """One target's own build, still to be done.

    Attributes:
        bench: the zoo on this target, and on no other.
        request: its budget, and all limits that are not of one target.
        folder: where the build goes.
    """

    bench: Workbench
    request: Request
    folder: Path


@dataclass(frozen=True, slots=True)
class Separate:
    """What became of one target's own build.

    Attributes:
        target: the device and its settings.
        budget: as the user wrote it; None: there is none.
        folder: where the build is.
        papers: its manifest; None: there is no such network.
        error: why there is none, one of `REFUSALS`.
    """

    target: str
    budget: str | None
    folder: Path
    papers: Manifest | None
    error: DeryccError | None = None


def tasks(request: Request, bench: Workbench, folder: Path) -> tuple[Task, ...]:
    """A build for every target, each with its own budget.

    Raises:
        UsageError: a folder is there and is no build.
    """
    own = [(bench.alone(), replace(request, also=()))]
    for one, there in zip(request.also, bench.elsewhere, strict=True):
        own.append((there, replace(request, latency=one.latency, also=())))
    found = tuple(
        Task(there, asked, folder / folder_name(str(there.target))) for there, asked in own
    )
    for task in found:
        check_folder(task.folder)
    return found


def build_each(todo: Sequence[Task], options: Options) -> tuple[Separate, ...]:
    """Build for every target; one that has no network does not stop the others."""
    return tuple(_build(task, options) for task in todo)


def _build(task: Task, options: Options) -> Separate:
    target, request = str(task.bench.target), task.request
    try:
        built, bench = solved(request, task.bench, None)
    except REFUSALS as error:
        task.bench.progress.finish(f"nothing built for {target}")
        return Separate(target, request.latency, task.folder, None, error)
    here = replace(options, target=target, also=())
    papers = write_artifact(task.folder, built, request, here, bench)
    return Separate(target, request.latency, task.folder, papers)


def require(found: Sequence[Separate]) -> None:
    """Raise where a target has no network: the first one's error, with its name."""
    for one in found:
        if one.error is not None:
            raise type(one.error)(f"On {one.target}: {one.error}")


def each_folder(out: Path | None, request: Request, home: Path, bench: Workbench) -> Path:
    """Where the targets' own builds go, each in a folder of its own."""
    if out is not None:
        return out
    common = out_folder(None, request, home, bench)
    return common.with_name(f"{common.name}-each")


def common_build(out: Path | None, request: Request, home: Path, bench: Workbench) -> Path:
    """Where the network for all targets is, if it has been built."""
    return out_folder(None, request, home, bench) if out is None else out / COMMON


def separate_builds(
    folder: Path, out: Path | None, request: Request, home: Path, bench: Workbench
) -> tuple[Separate, ...]:
    """The targets' own builds beside the common one in `folder`, as far as there are any."""
    if not request.also:
        return ()
    if out is None:
        beside = each_folder(None, request, home, bench)
    elif folder.name == COMMON:
        beside = folder.parent
    else:
        return ()
    found = []
    for text, there in zip(request.latencies, bench.everywhere, strict=True):
        target = str(there.target)
        own = beside / folder_name(target)
        if (papers := known(own)) is not None:
            found.append(Separate(target, text, own, papers))
    return tuple(found)


def known(folder: Path) -> Manifest | None:
    """The manifest of a build, if there is one that can be read."""
    if not (folder / NAME).exists():
        return None
    try:
        return read_manifest(folder)
    except UsageError:
        return None


def comparable(common: Manifest | None, separate: Sequence[Separate]) -> bool:
    """Whether a network for all targets was asked the same as those for one each."""
    if common is None or not separate:
        return False
    rows = {one.target: one for one in common.targets}
    return len(rows) > 1 and all(
        one.target in rows
        and rows[one.target].budget == one.budget
        and (one.papers is None or _asked(one.papers) == _asked(common))
        for one in separate
    )


def _asked(papers: Manifest) -> tuple[object, ...]:
    """What was asked for besides latency, and of what."""
    limits = {
        (one.resource, one.asked)
        for one in papers.constraints
        if one.resource != LATENCY and target_of(one.resource) is None
    }
    return limits, papers.demands, papers.session, papers.zoo, papers.data.digest
