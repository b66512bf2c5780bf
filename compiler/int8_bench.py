"""Int8 bench: which blocks of a profiled zoo are offered in 8-bit integers, by measurement.

A block is offered where its int8 form was measured, is faster than the block in float, runs integer
kernels, and its loss was judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from statistics import geometric_mean

from compiler.dissection import Block, Dissection
from compiler.int8_judge import Int8Judge
from compiler.int8_offers import LEAST_DROP, Int8Offer, Int8Offers
from compiler.int8_proof import INTEGER_SHARE
from compiler.latency_model import LatencyModel
from compiler.parts import FLOAT_BYTES
from compiler.progress import Progress
from compiler.wanted import Wanted
from profilers.cost_table import CostTable
from profilers.parts import Part
from targets.errors import UsageError

_FACTORS = (0.7, 1.5)


@dataclass(frozen=True, slots=True)
class Int8Bench:
    """What offers are made from.

    Attributes:
        dissections: every donor at every input size.
        wanted: what the profile measures.
        table: what it measured.
        model: what blocks cost.
        judge: measures what they lose.
    """

    dissections: Sequence[Dissection]
    wanted: Wanted
    table: CostTable
    model: LatencyModel
    judge: Int8Judge

    def missing(self, instead: bool = False) -> tuple[Block, ...]:
        """The blocks that are still to be judged; those that are no faster in int8 are not."""
        return self.judge.missing(block for block, _ in self._worth(instead, self._known()))

    def offers(self, instead: bool, progress: Progress) -> Int8Offers:
        """What a search may put in int8.

        Args:
            instead: whether it must, wherever it can, faster or not.
            progress: told of what is judged.

        Raises:
            UsageError: it must, and no block has an int8 form.
        """
        known = self._known()
        worth = self._worth(instead, known)
        wholes = [d.block(d.cuts[0], d.cuts[-1]) for d in self.dissections if worth]
        losses = self.judge.losses([*(block for block, _ in worth), *wholes], progress)
        blocks = {
            block.name: Int8Offer(part, losses[block.name])
            for block, part in worth
            if block.name in losses and losses[block.name].integer >= INTEGER_SHARE
        }
        if instead and not blocks:
            raise UsageError(
                "No block of these donors runs in int8 on this target. Use --precision fp32, or "
                "other donors."
            )
        found = [losses[whole.name] for whole in wholes if whole.name in losses]
        lost = fsum(max(0.0, loss.drop) for loss in found)
        per_error = lost / (fsum(loss.error for loss in found) or 1.0)
        return Int8Offers(
            blocks,
            instead,
            max(LEAST_DROP, per_error),
            self._factor(),
            considered=sum(len(d.blocks) for d in self.dissections),
            slower=0 if instead else len(known) - len(worth),
        )

    def _worth(
        self, instead: bool, known: Sequence[tuple[Block, Part]]
    ) -> list[tuple[Block, Part]]:
        """Of those that were measured the blocks whose int8 form is of use."""
        cost = self.model.block
        return [
            (block, part)
            for block, part in known
            if instead or cost(block, part).median_us < cost(block).median_us
        ]

    def _known(self) -> list[tuple[Block, Part]]:
        """The blocks whose int8 form was measured, with what their latency is found under."""
        found = []
        for dissection in self.dissections:
            keys = self._keys(dissection)
            blocks = [block for block in dissection.blocks if block.name in keys]
            found += [(block, self._part(block, keys[block.name])) for block in blocks]
        return found

    def _keys(self, dissection: Dissection) -> Mapping[str, str]:
        structures = self.wanted.int8.get((dissection.name, dissection.input_size))
        blocks = structures.blocks if structures else {}
        return {name: key for name, key in blocks.items() if key in self.table.costs}

    def _part(self, block: Block, key: str) -> Part:
        """As in float, but for the time alone and the weights: a runtime fuses the new nodes."""
        part = self.model.part(block)
        return replace(part, key=key, weight_bytes=part.weight_bytes // FLOAT_BYTES)

    def _factor(self) -> float:
        """What donors measured whole in int8 take, as a multiple of what their blocks predict."""
        ratios = []
        for dissection in self.dissections:
            structures = self.wanted.int8.get((dissection.name, dissection.input_size))
            keys = self._keys(dissection)
            whole = (structures.whole if structures else None) or ""
            if whole in self.table.costs and len(keys) == len(dissection.blocks):
                parts = [(b, self._part(b, keys[b.name])) for b in dissection.blocks]
                predicted = fsum(self.model.block(*part).median_us for part in parts)
                ratios.append(self.table.costs[whole].median_us / predicted)
        low, high = _FACTORS
        return min(max(geometric_mean(ratios), low), high) if ratios else 1.0
