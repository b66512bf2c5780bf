"""Partition: all donors cut into K blocks, and the blocks grouped into K equivalence sets.

After "Deep Model Reassembly" (Yang et al. 2022, section 3.2): choose for every donor K - 1 cut
points, and K anchors among the blocks, so that the sum over all blocks of the similarity to the
nearest anchor is highest. There it is done by local moves from random starts; here by

1. a search: exact cut points for given anchors and medoids for given sets, in turn, from many
   starts, with swaps of anchors (`compiler.partition_search`);
2. prices on blocks, which bound every partition from above, lead to better ones, and drop most
   blocks (`compiler.partition_prices`);
3. an integer program over what is left, which proves the best (`compiler.partition_exact`).
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from compiler.block_caps import Caps
from compiler.block_space import OWN, QUANTUM, BlockSpace
from compiler.cover import Cover
from compiler.cpsat import solver_name
from compiler.equivalence import EquivalenceSet, Member, Partition
from compiler.partition_exact import prove
from compiler.partition_prices import price_blocks
from compiler.partition_search import search
from compiler.progress import Progress, Silent
from compiler.similarity_table import SimilarityTable
from targets.errors import UsageError

Exactness = Literal["auto", "always", "never"]

STARTS = 20
TIME_LIMIT_S = 60.0

PAIRS_PER_SECOND = 3e7
"""How many pairs of a block and an anchor prices look at in a second of one core of 2024."""

PRICES = "derycc prices"
"""The solver of an answer that the integer program had no part in."""

MOST_PAIRS = 50_000
"""With more of them left than this, the integer program is not tried where `exact` is auto."""


_SILENT = Silent()


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try; see `partition`."""

    seed: int
    starts: int
    time_limit_s: float
    exact: Exactness

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"The seed is {self.seed}. Give a whole number from 0 to {2**31 - 1}.")
        if self.starts < 1:
            raise UsageError(f"Asked for {self.starts} starts. Ask for 1 or more.")
        if not (math.isfinite(self.time_limit_s) and self.time_limit_s > 0):
            raise UsageError(
                f"The time limit is {self.time_limit_s} s. Give a positive number of seconds."
            )
        if self.exact not in get_args(Exactness):
            raise UsageError(f"exact is {self.exact!r}. Give auto, always or never.")


@dataclass(frozen=True, slots=True)
class _Answer:
    """A cover with what is known about it; `bound` in the space's rounded similarities."""

    best: Cover
    bound: float
    proven: bool
    solver: str


def partition(
    table: SimilarityTable,
    k: int,
    *,
    epsilon: float | None = 0.2,
    param_epsilon: float | None = None,
    seed: int = 0,
    starts: int = STARTS,
    time_limit_s: float = TIME_LIMIT_S,
    exact: Exactness = "auto",
    progress: Progress = _SILENT,
) -> Partition:
    """The partition with the highest sum of similarities between blocks and their anchors.

    The same arguments give the same partition: effort is counted, not timed.

    Args:
        table: similarities of all boundaries of all donors.
        k: blocks of every donor, and sets.
        epsilon: the cap on nodes, see `Caps`; None: none.
        param_epsilon: the cap on parameters.
        seed: of the search.
        starts: random starts of the search.
        time_limit_s: effort of the bound, and of the integer program, each in seconds of an
            ordinary core of 2024; the search, which is short, is not counted.
        exact: "auto": prove the answer where little enough is left; "always": try it however much
            is left; "never": no integer program. In all cases the bound alone may prove it.
        progress: told about everything that takes time.

    Raises:
        UsageError: an argument is not usable, or the caps leave no partition of some donor.
    """
    effort = Effort(seed, starts, time_limit_s, exact)
    _check_names([model.name for model in table.models])
    caps = Caps(epsilon, param_epsilon)
    space = BlockSpace(table, k, caps)
    return _described(space, caps, effort, _solve(space, effort, progress))


def _described(space: BlockSpace, caps: Caps, effort: Effort, answer: _Answer) -> Partition:
    """The answer in the donors' words; its objective in the table's own numbers."""
    sets = _sets(space, answer.best)
    objective = math.fsum(member.similarity for group in sets for member in group.members)
    known = max(objective, answer.bound + answer.best.blocks.size * QUANTUM)
    bound = known if math.isfinite(known) else None
    return Partition(
        k=space.k,
        sets=sets,
        objective=objective,
        bound=objective if answer.proven else bound,
        proven=answer.proven,
        measure=space.table.measure,
        epsilon=caps.epsilon,
        param_epsilon=caps.param_epsilon,
        seed=effort.seed,
        starts=effort.starts,
        solver=answer.solver,
    )


def _check_names(names: list[str]) -> None:
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"A partition is made of one or more donors, each named once; given: "
            f"{', '.join(names) or 'none'}."
        )


def _solve(space: BlockSpace, effort: Effort, progress: Progress) -> _Answer:
    """Search, bound, improve, and prove where that is asked for."""
    seed, exact = effort.seed, effort.exact
    known = search(space, seed, effort.starts, progress)
    most = effort.time_limit_s * PAIRS_PER_SECOND
    priced = price_blocks(space, known, seed, most, progress, to_the_end=exact == "never")
    if not len(priced.anchors):
        return _Answer(priced.best, priced.best.value, True, PRICES)
    if exact == "never" or (exact == "auto" and priced.pairs > MOST_PAIRS):
        return _Answer(priced.best, priced.bound, False, PRICES)
    progress.start("proving the partition", None)
    found = prove(space, priced.best, priced.anchors, priced.blocks, effort.time_limit_s, seed)
    progress.finish()
    return _Answer(found.best, min(found.bound, priced.bound), found.proven, solver_name())


def _sets(space: BlockSpace, found: Cover) -> tuple[EquivalenceSet, ...]:
    """The cover in the donors' words, with similarities as the table has them."""
    groups = []
    for number, anchor in enumerate(found.anchors):
        members = {
            int(block): _member(space, int(block), stage, int(anchor))
            for donor in range(len(found.blocks))
            for stage, block in enumerate(found.blocks[donor])
            if found.sets[donor, stage] == number
        }
        groups.append(EquivalenceSet(members[int(anchor)], tuple(members.values())))
    depth = {model.name: len(model) for model in space.table.models}
    return tuple(
        sorted(groups, key=lambda g: (g.anchor.start / depth[g.anchor.model], g.anchor.model))
    )


def _member(space: BlockSpace, block: int, stage: int, anchor: int) -> Member:
    model = space.table.models[space.donor[block]]
    start, end = int(space.start[block]), int(space.end[block])
    values = space.table.values
    entering = values[space.enter[block], space.enter[anchor]]
    leaving = values[space.leave[block], space.leave[anchor]]
    return Member(
        model=model.name,
        stage=stage,
        start=start,
        nodes=end - start,
        first=model.nodes[start],
        last=model.nodes[end - 1],
        params=sum(model.params[start:end]),
        similarity=OWN if block == anchor else float(entering + leaving),
    )
