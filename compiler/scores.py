"""Scores: what networks may be chosen by, and the search by each.

- `quality`: expected quality, corrected by every network that is built: the closed loop.
- `similarity`: the sum, over the network's stitches, of the similarity of the two activations that
  each joins: what the similarities of "Deep Model Reassembly" are of a network without sets, where
  a block stands for what it replaces as far as its input and its output are alike. It adds up along
  a path and is solved exactly. A donor left whole has no stitch and scores 0.
- a zero-cost proxy: knows the network as a whole. Of the networks within the limits those of
  highest expected quality are built and ranked by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.belief import Belief
from compiler.closed_loop import ClosedLoop
from compiler.proxies import PROXIES, get_proxy
from compiler.proxy_order import MOST_SCORED, ProxyOrder, check_labels
from compiler.ranks import spearman
from compiler.scored_search import (
    Order,
    ScoredSearch,
    SimilarityOrder,
    SimilaritySpace,
    rank_correlation,
)
from compiler.trial import Trial
from compiler.workbench import Workbench
from targets.errors import UnknownNameError

QUALITY, SIMILARITY = "quality", "similarity"
SCORES = (QUALITY, SIMILARITY, *PROXIES)
"""What networks are chosen by."""

FREELY_SCORED = 24
"""Networks that a proxy ranks where they need not have one block of every set."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How a network was chosen by a score.

    Attributes:
        score: one of `SCORES`.
        value: the network's; of `quality` what was measured on the calibration photographs.
        proven: within the limits, as latency was predicted then, no network scores better but for
            those that were tried before; of `quality`: none is expected to be better.
        enumerated: networks that were scored one by one; None: the solver did without.
        complete: whether these are all that are within the limits; None likewise.
        correlation: Spearman's, between score and measured quality of the networks tried; of
            `quality` between what was expected and what was measured. None where it says nothing.
    """

    score: str
    value: float
    proven: bool
    enumerated: int | None = None
    complete: bool | None = None
    correlation: float | None = None


def check_score(score: str) -> None:
    """Refuse what is no score.

    Raises:
        UnknownNameError: says which there are.
    """
    if score not in SCORES:
        raise UnknownNameError("score", score, SCORES)


def order_by(
    score: str, space: SimilaritySpace, bench: Workbench, seed: int = 0, most: int = MOST_SCORED
) -> Order | None:
    """What says which network comes next; None: the closed loop does, by expected quality."""
    if score == QUALITY:
        return None
    if score == SIMILARITY:
        return SimilarityOrder(space, seed)
    proxy = get_proxy(score)
    return ProxyOrder(space, proxy, bench.candidates, bench.progress, seed, most)


class ScoredBench:
    """One workbench whose networks are chosen by a score."""

    def __init__(self, bench: Workbench, score: str) -> None:
        """Take the parts.

        Raises:
            UnknownNameError: it is no score.
            DataError: it needs labels, and the photographs have none.
        """
        check_score(score)
        if score in PROXIES:
            check_labels(get_proxy(score), bench.photographs.calibration)
        self._bench = bench
        self._score = score
        self._order = None
        if score != QUALITY:
            self._order = order_by(score, bench.space, bench, most=FREELY_SCORED)

    def loop(self, belief: Belief) -> ClosedLoop | ScoredSearch:
        """The search by this score."""
        bench = self._bench
        if self._order is None:
            return bench.loop(belief)
        name = f"{self._score}, at most {FREELY_SCORED} enumerated"
        candidates, progress = bench.candidates, bench.progress
        return ScoredSearch(
            bench.space, self._order, candidates, belief, progress, bench.journal, name
        )

    def choice(self, trial: Trial, trials: Sequence[Trial]) -> Choice:
        """How a trial of the loop was chosen among all of them."""
        return choice_of(self._score, self._order, trial, trials)


def choice_of(score: str, order: Order | None, trial: Trial, trials: Sequence[Trial]) -> Choice:
    """How a trial was chosen among all of a search, in the order that a score gave."""
    proven = trial.assembly.status == "optimal"
    if trial.score is None or order is None:
        agreed = spearman([one.expected for one in trials], [one.quality for one in trials])
        return Choice(score, trial.quality, proven, correlation=agreed)
    if not isinstance(order, ProxyOrder):
        return Choice(score, trial.score, proven, correlation=rank_correlation(trials))
    found = order.enumerated
    count = len(found.assemblies)
    return Choice(
        score, trial.score, found.complete, count, found.complete, rank_correlation(trials)
    )
