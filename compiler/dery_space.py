"""DerySpace: the networks that take one block from every equivalence set.

The integer program of "Deep Model Reassembly" (Yang et al. 2022): with the donors cut into K blocks
and the blocks grouped into K sets, a network has one block of every set (equation 10) and one at
every stage (equation 11). Blocks and stitches are those of an ordinary search space, with stitches
only from the end of a stage to the beginning of the next: so a path has one block a stage, and what
is left to demand is one of every set.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from compiler.believed import Believed
from compiler.compatibility import Joints
from compiler.dissection import OUTPUT
from compiler.drop_model import DropModel
from compiler.elsewhere import Correction
from compiler.equivalence import Member, Partition
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.problem import CountLimit, Problem
from compiler.search_space import SearchSpace, Step
from compiler.stitch_features import StitchFeatures
from targets.budget import Budget


def joints_of(partition: Partition) -> Joints:
    """Where stitches may be: every donor's cut behind a stage but the last, by stage."""
    blocks = [partition.blocks(model) for model in partition.donors]
    return Joints(
        tuple(
            tuple((donor[stage].model, donor[stage].last) for donor in blocks)
            for stage in range(partition.k - 1)
        )
    )


class DerySpace:
    """A search space of which only the networks with one block of every set count."""

    def __init__(self, space: SearchSpace, partition: Partition) -> None:
        """Take the parts.

        Args:
            space: its stitches are all at the partition's joints.
            partition: of the same donors.
        """
        self.partition = partition
        self._space = space
        last = {_end(member, partition.k): member for member in _members(partition)}
        ends = {arc: (block.model, block.end.name) for arc, block in space.blocks.items()}
        self._members: Mapping[str, Member] = {
            arc: last[end] for arc, end in ends.items() if end in last
        }

    def problem(self, limits: Budget, believed: Believed) -> Problem:
        """The assembly program, scored by expected quality."""
        problem = self._space.problem(limits, believed)
        left = {arc.id for arc in problem.arcs}
        return replace(problem, counts=(*problem.counts, *self._counts(left)))

    def by_similarity(self, limits: Budget, believed: Believed) -> Problem:
        """The assembly program, scored by the blocks' similarity to the anchors of their sets."""
        problem = self.problem(limits, believed)
        arcs = tuple(replace(arc, score=self._similarity(arc.id)) for arc in problem.arcs)
        return replace(problem, arcs=arcs)

    def similarity_parts(
        self, limits: Budget, believed: Believed
    ) -> tuple[tuple[Problem, float], ...]:
        """The same program; it needs no parts."""
        return ((self.by_similarity(limits, believed), 0.0),)

    def members(self, arcs: Sequence[str]) -> tuple[Member, ...]:
        """The blocks of a path, by stage."""
        return tuple(self._members[arc] for arc in arcs if arc in self._members)

    def expected(self, arcs: Sequence[str], drops: DropModel) -> float:
        """The path's quality as far as it can be told without building it."""
        return self._space.expected(arcs, drops)

    def steps(self, arcs: Sequence[str]) -> tuple[tuple[str, Step], ...]:
        """The blocks and stitches of a path; gates are neither."""
        return self._space.steps(arcs)

    def blueprint(self, arcs: Sequence[str]) -> Blueprint:
        """The network that a path describes: a donor's stages in a row are one segment."""
        return self._space.blueprint(arcs)

    def latency(self, arcs: Sequence[str], residual: Correction) -> Interval:
        """The predicted latency of a path."""
        return self._space.latency(arcs, residual)

    def latency_on(self, target: str, arcs: Sequence[str], residual: Correction) -> Interval:
        """The predicted latency of a path on another target."""
        return self._space.latency_on(target, arcs, residual)

    def in_float(self, arcs: Sequence[str]) -> tuple[str, ...]:
        """The same path with all blocks in float."""
        return self._space.in_float(arcs)

    def int8_error(self, arcs: Sequence[str]) -> float:
        """The predicted `int8_error` of a path, uncorrected."""
        return self._space.int8_error(arcs)

    def int8_latency(self, arcs: Sequence[str]) -> Interval:
        """The predicted latency of a path's int8 blocks, uncorrected."""
        return self._space.int8_latency(arcs)

    def stitches(self, arcs: Sequence[str]) -> tuple[StitchFeatures, ...]:
        """What is known of the path's stitches, in order."""
        return self._space.stitches(arcs)

    def promised(self, arcs: Sequence[str]) -> float:
        """The path's quality if its stitches cost nothing."""
        return self._space.promised(arcs)

    def _similarity(self, arc: str) -> float:
        return self._members[arc].similarity if arc in self._members else 0.0

    def _counts(self, left: Container[str]) -> tuple[CountLimit, ...]:
        """One block of every set, of those that limits leave; a block is counted where it ends."""
        ends = {arc: member for arc, member in self._members.items() if arc in left}
        return tuple(
            CountLimit(
                tuple(arc for arc, member in ends.items() if member in group.members),
                at_most=1,
                at_least=1,
            )
            for group in self.partition.sets
        )


def _members(partition: Partition) -> list[Member]:
    return [member for group in partition.sets for member in group.members]


def _end(member: Member, k: int) -> tuple[str, str]:
    """The cut that a block ends at: the last one takes the donor's head along."""
    return member.model, OUTPUT if member.stage == k - 1 else member.last
