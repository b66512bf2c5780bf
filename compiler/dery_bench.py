"""DeryBench: a zoo cut into equivalence sets, and the search over networks of one block a set."""

from dataclasses import dataclass
from functools import cached_property

from compiler.belief import Belief
from compiler.cache import digest
from compiler.closed_loop import ClosedLoop
from compiler.dery_space import DerySpace, joints_of
from compiler.equivalence import Member, Partition
from compiler.partition import partition
from compiler.proxies import PROXIES, get_proxy
from compiler.proxy_order import check_labels
from compiler.scored_search import Order, ScoredSearch
from compiler.scores import check_score, choice_of, order_by
from compiler.trial import Trial
from compiler.workbench import Workbench
from targets.errors import UsageError


@dataclass(frozen=True, slots=True)
class DerySettings:
    """What DeRy mode is asked for.

    Attributes:
        k: blocks of every donor, equivalence sets, and blocks of the network.
        score: one of `SCORES`.
        epsilon: how much more than an even share of a donor's nodes a block may have.
        seed: of the partition, the solver, and the photographs that a proxy is shown.
    """

    k: int = 4
    score: str = "quality"
    epsilon: float | None = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse scores that are none, and seeds that nothing takes."""
        check_score(self.score)
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"The seed is {self.seed}. Give a whole number from 0 to {2**31 - 1}.")
        if self.k < 1:
            raise UsageError(f"Asked for {self.k} blocks of each donor. Ask for 1 or more.")


@dataclass(frozen=True, slots=True)
class DeryAnswer:
    """How the network of DeRy mode was chosen.

    Attributes:
        settings: what was asked for.
        partition: the equivalence sets.
        members: the network's blocks, by stage.
        score: of the network, by the score that was asked for.
        proven: within the limits, as latency was predicted then, no network scores better but for
            those that were tried before.
        enumerated: networks that were scored one by one; None: the solver did without.
        complete: whether these are all that are within the limits; None likewise.
        correlation: Spearman's, between score and measured quality of the networks tried; None
            where it says nothing, or the score is the quality.
    """

    settings: DerySettings
    partition: Partition
    members: tuple[Member, ...]
    score: float
    proven: bool
    enumerated: int | None = None
    complete: bool | None = None
    correlation: float | None = None


class DeryBench:
    """One workbench in DeRy mode; every step is made once and kept."""

    def __init__(self, bench: Workbench, settings: DerySettings) -> None:
        """Take the parts.

        Raises:
            DataError: the score needs labels, and the photographs have none.
        """
        if settings.score in PROXIES:
            check_labels(get_proxy(settings.score), bench.photographs.calibration)
        self._bench = bench
        self.settings = settings

    @cached_property
    def partition(self) -> Partition:
        """The donors' blocks in their sets."""
        wanted = self.settings
        return partition(
            self._bench.similarity,
            wanted.k,
            epsilon=wanted.epsilon,
            seed=wanted.seed,
            progress=self._bench.progress,
        )

    @cached_property
    def workbench(self) -> Workbench:
        """The workbench with stitches at the partition's joints, and nowhere else."""
        return self._bench.joined_by(joints_of(self.partition))

    @cached_property
    def space(self) -> DerySpace:
        """The networks that have one block of every set."""
        return DerySpace(self.workbench.space, self.partition)

    @cached_property
    def _order(self) -> Order | None:
        """What says which network comes next, where that is not the closed loop."""
        return order_by(self.settings.score, self.space, self.workbench, self.settings.seed)

    def loop(self, belief: Belief) -> ClosedLoop | ScoredSearch:
        """The search by the score that was asked for."""
        bench, order = self.workbench, self._order
        if order is None:
            return ClosedLoop(
                self.space,
                bench.candidates,
                belief,
                bench.progress,
                self.settings.seed,
                str(bench.target),
                bench.journal,
            )
        return ScoredSearch(
            self.space,
            order,
            bench.candidates,
            belief,
            bench.progress,
            bench.journal,
            f"{self.settings} {digest(self.partition.to_json())}",
        )

    def answer(self, trial: Trial, trials: tuple[Trial, ...]) -> DeryAnswer:
        """How a trial of the loop was chosen among all of them."""
        chosen = choice_of(self.settings.score, self._order, trial, trials)
        return DeryAnswer(
            self.settings,
            self.partition,
            self.space.members(trial.assembly.arcs),
            chosen.value,
            chosen.proven,
            chosen.enumerated,
            chosen.complete,
            None if self._order is None else chosen.correlation,
        )
