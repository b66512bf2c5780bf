"""Compatibility: how well a 1x1 stitch can turn one donor's activation into another's.

All pairs of cuts at once: the activations of every donor on one grid are laid side by side, their
second moments are one matrix, and every pair's ridge regression reads its blocks from it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, fx

from compiler.dissection import Cut, Dissection
from compiler.preprocessing import Preprocessing
from compiler.stitching import StitchShape, explained, r_squared, resample, ridge_weight

SAMPLES_PER_VIEW = 64

Grid = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StitchOption:
    """A stitch that an assembly may use.

    Attributes:
        size: input size of the network in pixels.
        source_model: donor whose block ends at `source`.
        source: the cut it comes from.
        target_model: donor whose block begins at `target`.
        target: the cut it goes to.
        r2: explained share of the target activation's variance, on views that the regression has
            not seen; negative where it does worse than the mean would.
        similarity: linear CKA of the two activations on those views, 0 to 1; 1 where nobody has
            compared them.
    """

    size: int
    source_model: str
    source: Cut
    target_model: str
    target: Cut
    r2: float
    similarity: float = 1.0

    @property
    def shape(self) -> StitchShape:
        """What its cost depends on."""
        return StitchShape.between(self.source, self.target)


@dataclass(frozen=True, slots=True)
class PairRule:
    """Which pairs of cuts are looked at, and how many of them are kept.

    Attributes:
        window: largest difference in depth share.
        per_cut: stitches kept out of each cut to each other donor on each grid, by R2.
    """

    window: float = 0.15
    per_cut: int = 3

    def allows(self, source: Cut, target: Cut) -> bool:
        """Equal grids, or a target grid that a stride lands on, at a similar depth."""
        return abs(source.depth - target.depth) <= self.window and joinable(source, target)

    def offers(self, source_model: str, source: Cut, target_model: str, target: Cut) -> bool:
        """Whether the pair is looked at."""
        return source_model != target_model and self.allows(source, target)

    def uses(self, model: str, cut: str) -> bool:
        """Whether the cut may be in a pair."""
        return True

    def kept(self, options: list[StitchOption]) -> list[StitchOption]:
        """Of the stitches out of one cut on one grid, those that are offered."""
        return _best_per_donor(options, self.per_cut)


@dataclass(frozen=True, slots=True)
class Joints:
    """Stitches within a joint, a set of cuts that stand for each other, at whatever depth.

    Attributes:
        joints: the cuts of each, as donor and name; a cut is in one joint at the most.
    """

    joints: tuple[tuple[tuple[str, str], ...], ...]

    def offers(self, source_model: str, source: Cut, target_model: str, target: Cut) -> bool:
        """Whether the pair is looked at."""
        if source_model == target_model or not joinable(source, target):
            return False
        left, right = (source_model, source.name), (target_model, target.name)
        return any(left in joint and right in joint for joint in self.joints)

    def uses(self, model: str, cut: str) -> bool:
        """Whether the cut may be in a pair."""
        return any((model, cut) in joint for joint in self.joints)

    def kept(self, options: list[StitchOption]) -> list[StitchOption]:
        """Of the stitches out of one cut on one grid, those that are offered."""
        return options


Rule = PairRule | Joints


def joinable(source: Cut, target: Cut) -> bool:
    """Whether a stitch can lead from one cut to the other: both inside, on fitting grids."""
    if source.depth in (0.0, 1.0) or target.depth in (0.0, 1.0):
        return False
    if len(source.grid) != 2 or len(target.grid) != 2:
        return False
    return _joins(StitchShape.between(source, target))


def _joins(shape: StitchShape) -> bool:
    """Equal grids, or one halving: what the solver may use."""
    return shape.kind == "pointwise" or shape.stride == 2


@dataclass(frozen=True, slots=True)
class _Column:
    """The channels of one cut, brought onto one grid, within that grid's moment matrix.

    Columns stand in the order in which donors and their cuts are run.
    """

    model: int
    cut: int
    shape: StitchShape
    span: slice


class GridMoments:
    """Streamed second moments of all donors' activations on one grid, about the first sample."""

    def __init__(self, grid: Grid, columns: Sequence[_Column]) -> None:
        self.columns = tuple(columns)
        width = columns[-1].span.stop
        positions = grid[0] * grid[1]
        generator = torch.Generator().manual_seed(positions)
        order = torch.randperm(positions, generator=generator)
        self._positions = order[:SAMPLES_PER_VIEW]
        self._n = 0
        self._first = torch.zeros(width)
        self._sum = torch.zeros(width, dtype=torch.float64)
        self._gram = torch.zeros(width, width, dtype=torch.float64)

    def __bool__(self) -> bool:
        """Whether there are any samples."""
        return self._n > 0

    def columns_of(self, model: int, cut: int) -> list[_Column]:
        """The columns that a cut fills: one, or none."""
        return [column for column in self.columns if (column.model, column.cut) == (model, cut)]

    def sample(self, activation: Tensor, column: _Column) -> Tensor:
        """(N, C, H, W) -> (N x positions, C) at this grid's fixed random positions."""
        flat = resample(activation, column.shape).flatten(2)[:, :, self._positions]
        return flat.transpose(1, 2).reshape(-1, flat.shape[1])

    def add(self, samples: Sequence[Tensor]) -> None:
        """Add one batch: the columns' samples, in the columns' order."""
        rows = torch.cat(list(samples), dim=1)
        if not self._n:
            self._first = rows[0].clone()
        rows -= self._first
        self._n += len(rows)
        self._sum += rows.sum(0, dtype=torch.float64)
        self._gram += (rows.T @ rows).double()

    @property
    def mean(self) -> Tensor:
        """First moments."""
        return self._first + self._sum / self._n

    def covariance(self, mean: Tensor | None = None) -> Tensor:
        """Second moments about a mean; about their own where none is given."""
        own = self._sum / self._n
        centred = self._gram / self._n - torch.outer(own, own)
        if mean is None:
            return centred
        apart = self.mean - mean
        return centred + torch.outer(apart, apart)


def stitch_options(
    dissections: Sequence[Dissection],
    preprocessings: Sequence[Preprocessing],
    views: Iterable[Tensor],
    rule: Rule = PairRule(),
    progress: Callable[[int], None] | None = None,
    checks: Iterable[Tensor] = (),
) -> tuple[StitchOption, ...]:
    """The stitches worth offering to the solver, with their R2.

    With few photographs a regression between wide activations learns them by heart: it explains
    everything it was fitted to and nothing else. So R2 is taken on other photographs.

    Args:
        dissections: the donors, all at one input size.
        preprocessings: how each donor normalizes, in the same order.
        views: batches (N, 3, S, S) of pixels in [0, 1] that regressions are fitted to.
        rule: which pairs are looked at and kept.
        progress: called with the number of views done.
        checks: batches of other photographs, to take R2 on; none: R2 is taken on `views`.
    """
    fitted, checked = _moments(dissections, rule), _moments(dissections, rule)
    chains = [[d.module(b.start, b.end) for b in d.blocks[:-1]] for d in dissections]
    done = 0
    for moments, pixels in chain(((fitted, v) for v in views), ((checked, v) for v in checks)):
        _add_batch(moments, chains, [p.normalize(pixels) for p in preprocessings])
        done += len(pixels)
        if progress is not None:
            progress(done)
    found = [
        option
        for grid, moment in fitted.items()
        for option in _options(dissections, moment, checked[grid], rule)
    ]
    return tuple(sorted(found, key=_order))


def _moments(dissections: Sequence[Dissection], rule: Rule) -> dict[Grid, GridMoments]:
    columns = _columns(dissections, rule)
    return {grid: GridMoments(grid, found) for grid, found in columns.items()}


def _order(option: StitchOption) -> tuple[str, int, str, int]:
    return (
        option.source_model,
        option.source.position,
        option.target_model,
        option.target.position,
    )


def _columns(dissections: Sequence[Dissection], rule: Rule) -> dict[Grid, list[_Column]]:
    """Every grid's columns: the cuts on it, and the finer cuts that stride onto it."""
    inner = [
        (m, c, cut)
        for m, d in enumerate(dissections)
        for c, cut in enumerate(d.cuts)
        if 0 < c < len(d.cuts) - 1 and len(cut.grid) == 2 and rule.uses(d.name, cut.name)
    ]
    columns: dict[Grid, list[_Column]] = {cut.grid: [] for _, _, cut in inner}
    for grid, found in columns.items():
        width = 0
        for m, c, cut in inner:
            shape = StitchShape((cut.channels, *cut.grid), (cut.channels, *grid))  # type: ignore[arg-type]
            if _joins(shape):
                found.append(_Column(m, c, shape, slice(width, width + cut.channels)))
                width += cut.channels
    return columns


@torch.no_grad()
def _add_batch(
    moments: dict[Grid, GridMoments], chains: list[list[fx.GraphModule]], inputs: list[Tensor]
) -> None:
    """Run every donor once; every cut's activation goes to the grids that it can be brought to."""
    samples: dict[Grid, list[Tensor]] = {grid: [] for grid in moments}
    for m, (blocks, x) in enumerate(zip(chains, inputs, strict=True)):
        for c, block in enumerate(blocks, start=1):
            x = block(x)
            for grid, moment in moments.items():
                samples[grid] += [moment.sample(x, col) for col in moment.columns_of(m, c)]
    for grid, moment in moments.items():
        moment.add(samples[grid])


def _options(
    dissections: Sequence[Dissection], moment: GridMoments, check: GridMoments, rule: Rule
) -> list[StitchOption]:
    fitted = moment.covariance()
    unseen = _Unseen(check.covariance(), check.mean - moment.mean) if check else None
    kept: list[StitchOption] = []
    targets = [column for column in moment.columns if column.shape.kind == "pointwise"]
    for column in moment.columns:
        allowed = [target for target in targets if _offered(dissections, column, target, rule)]
        if allowed:
            kept += rule.kept(_regress(dissections, fitted, unseen, column, allowed))
    return kept


def _offered(
    dissections: Sequence[Dissection], column: _Column, target: _Column, rule: Rule
) -> bool:
    left, right = dissections[column.model], dissections[target.model]
    return rule.offers(left.name, left.cuts[column.cut], right.name, right.cuts[target.cut])


@dataclass(frozen=True, slots=True)
class _Unseen:
    """Moments of photographs that nothing was fitted to.

    Attributes:
        centred: second moments about their own mean, which R2 and CKA compare with.
        apart: their mean, less that of the fitted photographs, which predictions use.
    """

    centred: Tensor
    apart: Tensor

    def about(self, column: _Column, targets: list[_Column]) -> tuple[Tensor, Tensor]:
        """Moments about the mean of the fitted photographs, as `_blocks` gives them."""
        xx, together = _blocks(self.centred, column, targets)
        own, others = self.apart[column.span], torch.cat([self.apart[t.span] for t in targets])
        return xx + torch.outer(own, own), together + torch.outer(own, others)


def _regress(
    dissections: Sequence[Dissection],
    fitted: Tensor,
    unseen: _Unseen | None,
    column: _Column,
    targets: list[_Column],
) -> list[StitchOption]:
    """One source against all its targets: one Cholesky factor serves them all."""
    xx, together = _blocks(fitted, column, targets)
    weight = ridge_weight(xx, together)
    found, moments = explained(xx, together, weight), fitted
    if unseen is not None:
        found, moments = explained(*unseen.about(column, targets), weight), unseen.centred
        found -= torch.cat([unseen.apart[t.span] for t in targets]) ** 2
    options, begin = [], 0
    origin = dissections[column.model]
    for t in targets:
        end = begin + t.span.stop - t.span.start
        r2 = r_squared(found[begin:end], moments.diagonal()[t.span])
        goal = dissections[t.model]
        sides = origin.name, origin.cuts[column.cut], goal.name, goal.cuts[t.cut]
        option = StitchOption(origin.input_size, *sides, r2, _linear_cka(moments, column, t))
        options.append(option)
        begin = end
    return options


def _linear_cka(moments: Tensor, column: _Column, target: _Column) -> float:
    """Centred kernel alignment of two columns from their second moments about their means.

    |Yc' Xc|^2 / (|Xc' Xc| |Yc' Yc|) with Frobenius norms (Kornblith et al. 2019, section 3.3); 0
    where one of the two does not vary. A sample is a position of a view.
    """
    x, y = column.span, target.span
    both = float(moments[x, x].norm() * moments[y, y].norm())
    return float(moments[x, y].square().sum()) / both if both else 0.0


def _blocks(moments: Tensor, column: _Column, targets: list[_Column]) -> tuple[Tensor, Tensor]:
    """Moments of a source with itself, and with all its targets side by side."""
    xx = moments[column.span, column.span].contiguous()
    return xx, torch.cat([moments[column.span, t.span] for t in targets], dim=1)


def _best_per_donor(options: list[StitchOption], most: int) -> list[StitchOption]:
    by_donor: dict[str, list[StitchOption]] = {}
    for option in options:
        by_donor.setdefault(option.target_model, []).append(option)
    return [
        option
        for group in by_donor.values()
        for option in sorted(group, key=lambda o: (-o.r2, o.target.position))[:most]
    ]
