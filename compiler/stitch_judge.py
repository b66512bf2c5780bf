"""Stitch judge: what single stitches really cost, measured one network after the other, and kept.

Each network is built, its stitch fitted by least squares, its batch-norms recalibrated, and judged
on photographs that nothing was fitted to, as every candidate of a build is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.candidates import Candidates
from compiler.compatibility import StitchOption
from compiler.drop_model import DropObservation
from compiler.judged_stitches import JudgedStitches
from compiler.network import Blueprint
from compiler.path_score import QualityOf, promised
from compiler.progress import Progress
from compiler.single_stitches import sample, single_stitch
from compiler.stitch_features import StitchFeatures
from targets.errors import UsageError


@dataclass(frozen=True, slots=True)
class JudgedNetwork:
    """A network of one stitch that was really judged.

    Attributes:
        network: what it is made of.
        seen: what was promised of it and what was measured.
    """

    network: Blueprint
    seen: DropObservation


class StitchJudge:
    """Judges a stratified sample of the networks with one stitch."""

    def __init__(
        self,
        options: Sequence[StitchOption],
        quality: QualityOf,
        candidates: Candidates,
        kept: JudgedStitches,
        progress: Progress,
    ) -> None:
        """Take the parts.

        Args:
            options: stitches on offer.
            quality: of the uncut donors.
            candidates: builds and judges.
            kept: where drops are kept.
            progress: told of every network.
        """
        self._options = options
        self._quality = quality
        self._candidates = candidates
        self._kept = kept
        self._progress = progress

    def judge(self, count: int) -> tuple[JudgedNetwork, ...]:
        """Judge so many networks; those that were judged before are read back.

        Raises:
            UsageError: no stitch is on offer.
            WorkspaceError: what was measured cannot be kept.
        """
        chosen = sample(self._options, count)
        if not chosen:
            raise UsageError(
                "These donors have no stitch on offer, so there is no network to judge. Name "
                "donors by --zoo that have grids of the same or of twice the size."
            )
        self._progress.start("building and judging networks of one stitch", len(chosen))
        found = []
        for done, option in enumerate(chosen):
            network = single_stitch(option)
            self._progress.update(done, str(network))
            found.append(JudgedNetwork(network, self._seen(option, network)))
            self._kept.add({network: found[-1].seen})
        self._progress.finish(f"{len(found)} networks of one stitch")
        return tuple(found)

    def _seen(self, option: StitchOption, network: Blueprint) -> DropObservation:
        return DropObservation(
            (StitchFeatures.of(option),),
            promised([option], self._quality),
            self._candidates.quality(network).score,
        )
