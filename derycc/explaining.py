"""Explaining: why a finished build is the network it is, from what the home folder knows."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from compiler.assembly import Assembly
from compiler.believed import Believed
from compiler.dery_space import DerySpace, joints_of
from compiler.drop_model import TERMS, DropModel
from compiler.equivalence import Partition
from compiler.explanation import Explainer, Explanation
from compiler.int8_offers import Int8Believed
from compiler.judged import MAX_DROP
from compiler.latency_model import Interval
from compiler.progress import Progress
from compiler.scored_search import SimilaritySpace
from compiler.workbench import Workbench
from derycc.alone import DonorAlone, donors_alone
from derycc.dery import PARTITION
from derycc.lock import NAME as LOCK
from derycc.manifest import Manifest, check_files, read_manifest
from derycc.manifest_asked import Beliefs, Session
from derycc.papers_targets import costs_digest
from derycc.problems import problem_of
from derycc.session import Options, open_workbench
from targets.budget import Budget, target_of
from targets.errors import DataError, UsageError, ZooError


@dataclass(frozen=True, slots=True)
class Explained:
    """A build and why it is what it is.

    Attributes:
        manifest: what the build says of itself.
        budget: what was asked for, in numbers.
        explanation: what the model says of it.
        donors: what each donor would give alone.
        changed: whether anything has been measured anew since it was built.
    """

    manifest: Manifest
    budget: Budget
    explanation: Explanation
    donors: tuple[DonorAlone, ...]
    changed: bool


def explain(folder: Path, home: Path, store: str | None, progress: Progress) -> Explained:
    """Explain a build; solves and looks up, measures nothing.

    Args:
        folder: what `derycc build` has written.
        home: the home folder that it was built in.
        store: the cost store; None: that of the home folder.
        progress: told about everything that takes time.

    Raises:
        UsageError: it is no build of a search, its files have changed, or what it was made from is
            no longer there.
        DataError: the photographs are others.
        ZooError: a donor's weights are gone, or are others.
    """
    papers = read_manifest(folder)
    check_files(folder, papers)
    session, beliefs = _searched(folder, papers)
    with _opened(papers, session, home, store, progress) as bench:
        space, bench = _space(folder, papers, bench)
        believed, budget = _believed(beliefs), asked(papers)
        ask = partial(problem_of, space, believed)
        explainer = Explainer(space, ask, budget, believed)
        arcs = Assembly.from_json(_answer(folder)).arcs
        return Explained(
            papers,
            budget,
            explainer.explain(arcs),
            donors_alone(bench, budget),
            _changed(json.loads((folder / LOCK).read_text()), bench),
        )


def asked(papers: Manifest) -> Budget:
    """The budget that a manifest tells of."""
    asked = {c.resource: c.asked for c in papers.constraints if c.asked is not None}
    amounts = {name: amount for name, amount in asked.items() if target_of(name) is None}
    demands = papers.demands
    latency, energy = amounts.pop("latency_us", None), amounts.pop("energy_j", None)
    return Budget(
        latency_us=latency,
        energy_j=energy,
        **{name: int(amount) for name, amount in amounts.items()},
        min_quality=demands.min_quality if demands else None,
        required=demands.required if demands else (),
        excluded=demands.excluded if demands else (),
        elsewhere=tuple(
            (target, amount) for name, amount in asked.items() if (target := target_of(name))
        ),
    )


def _changed(lock: dict[str, Any], bench: Workbench) -> bool:
    """Whether anything has been measured anew, on any target, since a lock file was written."""
    rows = lock.get("targets") or [{"cost_table": lock["cost_table"]}]
    return [row["cost_table"] for row in rows] != [costs_digest(one) for one in bench.everywhere]


def _searched(folder: Path, papers: Manifest) -> tuple[Session, Beliefs]:
    if papers.solver is None:
        raise UsageError(
            f"{folder} was written down by hand (--recipe): nothing was searched for, so there is "
            "nothing to explain. Give a build with a budget."
        )
    if papers.session is None or papers.beliefs is None:
        raise UsageError(
            f"{folder} was built by derycc {papers.derycc}, which did not note what its answer "
            "followed from. Build again to have it explained."
        )
    return papers.session, papers.beliefs


@contextmanager
def _opened(
    papers: Manifest, session: Session, home: Path, store: str | None, progress: Progress
) -> Iterator[Workbench]:
    """The workbench of a build as it was, with everything measured."""
    options = Options(
        home=home,
        target=papers.target,
        zoo=papers.zoo,
        sizes=session.sizes,
        data=None if session.data is None else Path(session.data),
        judge_data=None if session.judge_data is None else Path(session.judge_data),
        views=session.views,
        quick=session.quick,
        store=store,
        also=tuple(one.target for one in papers.targets[1:]),
        precision=session.precision,
        max_drop=MAX_DROP if session.max_drop is None else session.max_drop,
    )
    with open_workbench(options, progress) as bench:
        missing = sum(len(one.profile.unmeasured(one.wanted.keys)) for one in bench.everywhere)
        if missing:
            raise UsageError(
                f"The costs that the build followed from are not in {options.costs} as this "
                f"machine is now: {missing} measurements are missing. Name the home folder of the "
                "build by --home or its store by --store; or profile again, and build again."
            )
        _check_donors(papers, bench)
        if bench.photographs.digest != papers.data.digest:
            raise DataError(
                f"The photographs ({papers.data.source}) are not those that the build was judged "
                "by. Restore them, or build again."
            )
        yield bench


def _check_donors(papers: Manifest, bench: Workbench) -> None:
    for donor in papers.donors:
        if bench.donors.model(donor.name).weights_sha256 != donor.weights_sha256:
            raise ZooError(
                f"The weights of {donor.name} are not those that the build was made from. Restore "
                "them, or build again."
            )


def _space(folder: Path, papers: Manifest, bench: Workbench) -> tuple[SimilaritySpace, Workbench]:
    """The networks that there were to choose from, and the workbench with their stitches."""
    if papers.dery is None:
        return bench.space, bench
    partition = Partition.load(folder / PARTITION)
    joined = bench.joined_by(joints_of(partition))
    return DerySpace(joined.space, partition), joined


def _believed(beliefs: Beliefs) -> Believed:
    return Believed(
        drops_of(beliefs),
        Interval(beliefs.stitch_us, beliefs.stitch_upper_us),
        tuple(sorted(beliefs.excess.items())),
        tuple((target, Interval(*ends)) for target, ends in sorted(beliefs.elsewhere.items())),
        Int8Believed(
            beliefs.int8_latency, tuple(sorted(beliefs.int8_errors.items())), beliefs.int8_barred
        ),
    )


def drops_of(beliefs: Beliefs) -> DropModel:
    """The drop model of a build; older ones knew nothing but a slope."""
    if beliefs.drop_slope is not None:
        return replace(DropModel.of_slope(beliefs.drop_slope), observations=beliefs.observations)
    if set(beliefs.drop_weights) != set(TERMS):
        raise UsageError(
            "The build's drops of stitches were told by other terms than this derycc knows "
            f"({', '.join(beliefs.drop_weights)}). Build again to have it explained."
        )
    weights = tuple(beliefs.drop_weights[name] for name in TERMS)
    return DropModel(weights, beliefs.observations, beliefs.drop_error)


def _answer(folder: Path) -> str:
    """The solver's answer without the recipe that a build adds to it."""
    content = json.loads((folder / "assembly.json").read_text())
    return json.dumps({name: value for name, value in content.items() if name != "recipe"})
