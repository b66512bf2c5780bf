"""What the tests of DeRy mode share: partitions written down, and all networks one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from compiler.compatibility import StitchOption
from compiler.dery_space import DerySpace, joints_of
from compiler.dissection import Dissection
from compiler.equivalence import EquivalenceSet, Member, Partition
from compiler.latency_model import Interval
from compiler.search_space import SearchSpace
from tests.compiler.latency_cases import plain_model

QUALITY = (0.5, 0.7, 0.6)
BLOCK_US = (10.0, 20.0, 15.0)
STITCH_US = 1.0


def partition_of(
    donors: Sequence[Dissection],
    ends: Sequence[Sequence[int]],
    sets: Sequence[Sequence[int]],
    similarities: Sequence[Sequence[float]] | None = None,
) -> Partition:
    """A partition by hand: the number of nodes before every cut, and the set of every block."""
    k = len(sets[0])
    groups: list[list[Member]] = [[] for _ in range(k)]
    for number, donor in enumerate(donors):
        names = [node.name for node in donor.nodes]
        for stage, (a, b) in enumerate(pairwise([0, *ends[number], len(names)])):
            alike = similarities[number][stage] if similarities else 1.0
            member = Member(donor.name, stage, a, b - a, names[a], names[b - 1], 1, alike)
            groups[sets[number][stage]].append(member)
    made = tuple(EquivalenceSet(group[0], tuple(group)) for group in groups)
    return Partition(k, made, 1.0, 1.0, True, "linear_cka", None, None, 0, 1, "by hand")


@dataclass(frozen=True)
class Case:
    """Donors at 16 px in DeRy mode; every stitch at a joint has the same R2, if there are any."""

    donors: tuple[Dissection, ...]
    partition: Partition
    r2: float = 0.8
    stitched: bool = True

    @property
    def options(self) -> list[StitchOption]:
        rule = joints_of(self.partition)
        return [
            StitchOption(16, left.name, source, right.name, target, self.r2)
            for left, right in product(self.donors, repeat=2)
            for source, target in product(left.cuts, right.cuts)
            if self.stitched and rule.offers(left.name, source, right.name, target)
        ]

    @property
    def space(self) -> DerySpace:
        quality = {(d.name, 16): q for d, q in zip(self.donors, QUALITY, strict=False)}
        blocks, wholes = {}, {}
        for donor, cost in zip(self.donors, BLOCK_US, strict=False):
            blocks |= {block.name: Interval(cost, cost) for block in donor.blocks}
            whole = cost * len(donor.blocks)
            wholes[donor.name, 16] = Interval(whole, whole)
        model = plain_model(blocks, wholes, STITCH_US)
        return DerySpace(SearchSpace(self.donors, self.options, model, quality), self.partition)

    def networks(self) -> Iterator[tuple[Member, ...]]:
        """Every choice of one block a stage and one a set whose neighbours can be joined."""
        joined = {(o.source_model, o.source.name, o.target_model) for o in self.options}
        for names in product(self.partition.donors, repeat=self.partition.k):
            chosen = tuple(self.partition.blocks(m)[stage] for stage, m in enumerate(names))
            sets = {self.partition.set_of(member) for member in chosen}
            fits = all(
                a.model == b.model or (a.model, a.last, b.model) in joined
                for a, b in pairwise(chosen)
            )
            if len(sets) == self.partition.k and fits:
                yield chosen

    def latency_us(self, chosen: tuple[Member, ...]) -> float:
        """Blocks of the fine cuts (the head is one more), and stitches."""
        cost = {d.name: us for d, us in zip(self.donors, BLOCK_US, strict=False)}
        stitches = sum(a.model != b.model for a, b in pairwise(chosen))
        nodes = sum(member.nodes * cost[member.model] for member in chosen)
        return nodes + cost[chosen[-1].model] + stitches * STITCH_US

    def quality(self, chosen: tuple[Member, ...], slope: float) -> float:
        """Shares of depth, evened out where a stitch skips or repeats some, less the drops."""
        worth = {d.name: q for d, q in zip(self.donors, QUALITY, strict=False)}
        depth = {(d.name, cut.name): cut.depth for d in self.donors for cut in d.cuts}
        total, at = 0.0, 0.0
        for number, member in enumerate(chosen):
            end = depth[member.model, member.last] if number < len(chosen) - 1 else 1.0
            before = self.partition.blocks(member.model)[: member.stage]
            start = depth[member.model, before[-1].last] if before else 0.0
            if number and chosen[number - 1].model != member.model:
                pair = worth[chosen[number - 1].model], worth[member.model]
                skipped = start - at
                total += skipped * (min(pair) if skipped > 0 else max(pair))
                total -= slope * (1 - self.r2)
            total += (end - start) * worth[member.model]
            at = end
        return total
