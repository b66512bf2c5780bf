"""DeRy mode: a build from one block of every equivalence set, and what its papers say of it."""

import math
from dataclasses import replace

from compiler.dery_bench import DeryAnswer, DeryBench, DerySettings
from compiler.dery_refusal import check_feasible, check_sets
from compiler.equivalence import EquivalenceSet, Member
from compiler.workbench import Workbench
from derycc.building import Built, Request, choose, limits
from derycc.manifest_dery import Dery
from derycc.manifest_dery import EquivalenceSet as Chosen

PARTITION = "partition.json"
"""The equivalence sets in a build's folder, as `derycc partition` writes them."""


def build_dery(
    request: Request, settings: DerySettings, bench: Workbench
) -> tuple[Built, Workbench]:
    """Partition, search, choose, measure anew and verify; also the workbench it was done on.

    Raises:
        InfeasibleError: no network has one block of every set within the budgets; says why.
        BudgetMissedError: nothing that was built keeps the budget when measured.
        VerificationError: the engine does not compute what the network computes.
        DataError, UsageError: the score needs labels, or a donor cannot be cut so.
    """
    dery = DeryBench(bench, settings)
    check_sets(dery.partition)
    bounds, belief = limits(request, dery.workbench), dery.workbench.belief()
    check_feasible(dery.space, bounds, belief)
    built = choose(dery.loop(belief), bounds, request.effort, dery.workbench)
    return replace(built, dery=dery.answer(built.trial, built.trials)), dery.workbench


def describe_dery(answer: DeryAnswer) -> Dery:
    """What a manifest says of the choice."""
    sets = answer.partition.sets
    return Dery(
        k=answer.settings.k,
        epsilon=answer.settings.epsilon,
        seed=answer.settings.seed,
        score=answer.settings.score,
        value=finite(answer.score),
        proven=answer.proven,
        enumerated=answer.enumerated,
        complete=answer.complete,
        correlation=answer.correlation,
        objective=answer.partition.objective,
        partition_proven=answer.partition.proven,
        sets=tuple(_set(group, answer.members) for group in sets),
    )


def finite(score: float | None) -> float | None:
    """A score as JSON can say it: naswot is minus infinity where images are told apart by none."""
    return score if score is not None and math.isfinite(score) else None


def _set(group: EquivalenceSet, members: tuple[Member, ...]) -> Chosen:
    (chosen,) = [member for member in members if member in group.members]
    return Chosen(
        model=chosen.model,
        first=chosen.first,
        last=chosen.last,
        stage=chosen.stage + 1,
        similarity=chosen.similarity,
        anchor=str(group.anchor),
        members=len(group.members),
    )
