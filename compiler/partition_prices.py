"""Prices on blocks: how good a partition can be at most, and which blocks it cannot have.

The cut points and the sets are coupled by one condition: the sets take exactly the blocks that the
partition has. With a price on every block the two come apart. The cuts earn the prices of their
blocks: one best partition. The sets pay them: each anchor takes, of every donor, the disjoint
blocks whose similarity to it exceeds their price by most in sum, and the K best anchors win. Both
are exact by dynamic programming, and whatever the prices, the two sums together bound every cover
(Lagrangian relaxation, Geoffrion 1974). Prices follow the volume algorithm (Barahona and Anbil
2000): they step along an average of the differences between what is cut and what is taken.

An anchor, or a block, with which the bound is no more than the best known cover is dropped; what is
left is small enough for `compiler.partition_exact`. The anchors that win are good starts, too: in
zoos of more than a few donors they lead to better covers than random ones.
"""

from dataclasses import dataclass

import numpy as np

from compiler.block_space import OWN, QUANTUM, BlockSpace, Int
from compiler.cover import Cover, cover, settle
from compiler.progress import Progress
from compiler.similarity_table import Float

MOST_STEPS = 400
SMALL = 4000
"""With no more pairs of a block and an anchor left, the integer program takes over."""

SAMPLE, SHARE = 400, 10
"""Most steps look at a sample of the anchors: at least so many, at least one in so many."""

EVERY = 25
"""So many steps lie between looks at all anchors; the best of them join the sample."""

MEMORY = 0.9
"""Share of the earlier direction in the next one."""

PATIENCE, SHRINK = 8, 0.66
"""After so many steps without a lower bound, steps become shorter by this factor."""

LEAST_SQUARE = 0.05
"""An average of opposed directions is short; its square counts as this share of the last one's."""


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """What the prices have shown.

    Attributes:
        best: the best cover known.
        bound: no cover is worth more.
        anchors: a better cover has all its anchors among these; none are left once it is proven
            that there is no better one.
        blocks: a better cover has all its blocks among these.
    """

    best: Cover
    bound: float
    anchors: Int
    blocks: Int

    @property
    def pairs(self) -> int:
        """How many pairs of a block and an anchor are left."""
        return len(self.anchors) * len(self.blocks)


def price_blocks(
    space: BlockSpace,
    known: Cover,
    seed: int,
    most_pairs: float,
    progress: Progress,
    to_the_end: bool = False,
) -> Priced:
    """Bound all covers, improve the best, and drop what cannot be in a better one.

    Stops when the best cover is proven or little is left, else after `MOST_STEPS` steps, or fewer
    where they would look at more than `most_pairs` pairs of a block and an anchor in all.

    Args:
        space: the blocks.
        known: a good cover.
        seed: of the sample of anchors.
        most_pairs: the effort.
        progress: told about every step.
        to_the_end: go on where little is left.
    """
    progress.start("pricing blocks to bound all partitions", MOST_STEPS)
    prices = _Prices(space, known, seed, enough=0 if to_the_end else SMALL)
    for number in range(MOST_STEPS):
        if prices.done or prices.looked_at > most_pairs:
            break
        prices.step(everything=number % EVERY == 0)
        progress.update(number + 1, f"{prices.best.value:.3f} to {prices.bound:.3f}")
    progress.finish()
    bound = max(prices.best.value, prices.bound)
    return Priced(prices.best, bound, prices.anchors, np.flatnonzero(prices.open))


@dataclass(frozen=True, slots=True, eq=False)
class _Market:
    """Who takes what at some prices.

    Attributes:
        price: of every block.
        gains: what each anchor that was looked at would gain.
        order: positions of these anchors, from the highest gain to the lowest.
        winners: the K anchors that gain most.
        blocks: the partition that earns most, (donors, K).
        value: what the winners gain and the partition earns; a bound if all anchors were looked at.
    """

    price: Float
    gains: Float
    order: Int
    winners: Int
    blocks: Int
    value: float


class _Prices:
    """The prices and what is known under them; `step` moves them."""

    def __init__(self, space: BlockSpace, known: Cover, seed: int, enough: int) -> None:
        self.best = known
        self.bound = np.inf
        self.anchors = np.arange(len(space))
        self.open = np.ones(len(space), dtype=bool)
        self.looked_at = 0
        self._space = space
        self._enough = enough
        self._draw = np.random.default_rng(seed)
        self._sample = self._drawn(max(SAMPLE, len(space) // SHARE))
        self._trial = space.similarity(self.anchors, known.anchors).max(axis=1)
        self._center, self._level = self._trial, np.inf
        self._direction: Float | None = None
        self._length, self._stale = 1.0, 0
        self._tried: set[bytes] = set()

    @property
    def limit(self) -> float:
        """What is worth no more than this is not better than the best cover."""
        return self.best.value + QUANTUM / 4

    @property
    def done(self) -> bool:
        """Whether the best cover is proven, or little enough is left."""
        return len(self.anchors) * int(self.open.sum()) <= self._enough

    def step(self, everything: bool) -> None:
        """Look at the market at the trial prices, and move these by what was not agreed on.

        Args:
            everything: look at all anchors before, at the best prices so far.
        """
        if everything and len(self._sample) < len(self.anchors):
            self._look_at_all()
        if self.done:
            return
        market = self._market(self._trial, self._sample)
        self._try(market.winners)
        if len(self._sample) == len(self.anchors):
            self._drop(market)
            self._sample = self.anchors
        if market.value < self._level:
            self._center, self._level, self._stale = market.price, market.value, 0
        else:
            self._stale += 1
        if self._stale == PATIENCE:
            self._length, self._stale = self._length * SHRINK, 0
        self._move(market)

    def _drawn(self, size: int) -> Int:
        size = min(len(self.anchors), size)
        return np.sort(self._draw.choice(self.anchors, size, replace=False))

    def _look_at_all(self) -> None:
        """Bound by all anchors; the best of those that are left join the sample."""
        market = self._market(self._center, self.anchors)
        ranked = self.anchors[market.order]
        self._level = market.value
        self._drop(market)
        if len(self.anchors) <= SAMPLE:
            self._sample = self.anchors
        else:
            joining = ranked[: max(SAMPLE, len(ranked) // SHARE) // 2]
            kept = np.union1d(self._sample, joining)
            self._sample = np.intersect1d(kept, self.anchors)

    def _market(self, price: Float, anchors: Int) -> _Market:
        space = self._space
        parts = [self._gains(price, part)[1] for part in space.chunks(anchors)]
        self.looked_at += len(anchors) * len(space)
        gains = np.concatenate(parts)
        order = np.argsort(-gains, kind="stable")
        earned = np.where(self.open, price, -np.inf)
        blocks = space.partition(earned)
        assert blocks is not None, "the blocks of the best partition under the bound stay open"
        value = gains[order[: space.k]].sum() + earned[blocks].sum()
        return _Market(price, gains, order, anchors[order[: space.k]], blocks, float(value))

    def _gains(self, price: Float, anchors: Int) -> tuple[Float, Float, Float]:
        """What each block adds to each anchor, the anchors' gains, and the sums they come from."""
        space = self._space
        worth = space.similarity(np.arange(len(space)), anchors)
        worth -= price[:, None]
        worth[~self.open] = -np.inf
        space.close_rivals(worth, anchors)
        worth[anchors, np.arange(len(anchors))] = 1.0  # a set has its anchor, whatever it costs
        best = space.disjoint(worth)
        gains = best[space.lasts].sum(axis=0) - 1.0 + OWN - price[anchors]
        return worth, gains, best

    def _drop(self, market: _Market) -> None:
        """Drop what no better cover has, by a market in which all anchors were looked at."""
        self.bound = min(self.bound, market.value)
        if market.value <= self.limit:
            self.anchors = self.anchors[:0]
            return
        weakest = market.gains[market.order[self._space.k - 1]]
        instead = market.value + np.minimum(0.0, market.gains - weakest)
        self.open &= market.value + self._regrets(market.price) > self.limit
        self.anchors = self.anchors[(instead > self.limit) & self.open[self.anchors]]
        if len(self.anchors) < self._space.k:
            self.anchors = self.anchors[:0]

    def _regrets(self, price: Float) -> Float:
        """What it costs to have a block in the partition that earns most, (blocks,); 0 or less."""
        space = self._space
        earned = np.where(self.open, price, -np.inf)
        before, behind = space.forward(earned[:, None])[..., 0], space.backward(earned)
        best = np.full(len(space), -np.inf)
        for i in range(space.k):
            after = behind[space.k - 1 - i, space.leave]
            np.maximum(best, before[i, space.enter] + earned + after, out=best)
        regrets: Float = best - before[space.k, space.lasts][space.donor]
        return regrets

    def _try(self, anchors: Int) -> None:
        """Settle the cover around the winners, if they can be anchors and are new."""
        key = np.sort(anchors).tobytes()
        if key in self._tried:
            return
        self._tried.add(key)
        found = cover(self._space, anchors)
        if found is not None:
            self.best = max(self.best, settle(self._space, found), key=lambda found: found.value)

    def _move(self, market: _Market) -> None:
        """New trial prices: dearer where more is taken than cut, cheaper where less is."""
        difference = np.zeros(len(self._space))
        difference[market.blocks] = 1.0
        np.subtract.at(difference, self._taken(market), 1.0)
        if self._direction is None:
            self._direction = difference
        self._direction = (1 - MEMORY) * difference + MEMORY * self._direction
        square = max(
            float(self._direction @ self._direction),
            LEAST_SQUARE * float(difference @ difference),
        )
        if square > 0:
            reach = self._length * max(market.value - self.best.value, QUANTUM) / square
            self._trial = self._center - reach * self._direction

    def _taken(self, market: _Market) -> Int:
        """All blocks that the winners take; one that several take is there several times."""
        space = self._space
        worth, _, best = self._gains(market.price, market.winners)
        found = [
            block
            for column in range(len(market.winners))
            for block in space.chosen(best[:, column], worth[:, column])
        ]
        return np.array(found)
