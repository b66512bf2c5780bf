"""Judging: what single stitches really cost, and how well that is predicted."""

from dataclasses import dataclass

from compiler.drop_accuracy import LEAST, Accuracy, held_out
from compiler.drop_model import DropModel
from compiler.network import Blueprint
from compiler.stitch_features import StitchFeatures
from compiler.workbench import Workbench
from derycc.session import labelled


@dataclass(frozen=True, slots=True)
class JudgedDrop:
    """One network of one stitch.

    Attributes:
        network: what it is made of.
        stitch: what was known of its stitch before.
        promised: quality if the stitch cost nothing.
        measured: quality on the calibration photographs that nothing was fitted to.
        predicted: its drop, by a model fitted to the half of the networks that it is not in; None
            where there are too few to hold half of them out.
    """

    network: Blueprint
    stitch: StitchFeatures
    promised: float
    measured: float
    predicted: float | None

    @property
    def drop(self) -> float:
        """What the stitch cost."""
        return self.promised - self.measured


@dataclass(frozen=True, slots=True)
class JudgedZoo:
    """The networks judged, and what is known of drops by them.

    Attributes:
        drops: the networks, in the order in which they were chosen.
        accuracies: of every way of predicting, on networks it was not fitted to; none where there
            are too few.
        model: fitted to all networks that were judged in this home: builds start from it.
        photographs: that each network was judged by.
        score: what quality is: "top-1", or "agreement" where there are no labels.
    """

    drops: tuple[JudgedDrop, ...]
    accuracies: tuple[Accuracy, ...]
    model: DropModel
    photographs: int
    score: str


def judge(bench: Workbench, count: int) -> JudgedZoo:
    """Judge so many networks of one stitch, and keep their drops for all later builds.

    Raises:
        UsageError: no stitch is on offer.
        ZooError: the donors cannot be combined.
        WorkspaceError: what was measured cannot be kept.
    """
    judged = bench.stitch_judge.judge(count)
    seen = [one.seen for one in judged]
    tried = held_out(seen) if len(seen) >= LEAST else None
    predicted = tried.predicted if tried else [None] * len(seen)
    drops = tuple(
        JudgedDrop(one.network, one.seen.stitches[0], one.seen.promised, one.seen.measured, drop)
        for one, drop in zip(judged, predicted, strict=True)
    )
    photographs = bench.photographs
    return JudgedZoo(
        drops,
        tried.accuracies if tried else (),
        bench.belief().drops,
        len(photographs.choosing),
        "top-1" if labelled(photographs.calibration) else "agreement",
    )


def plan(bench: Workbench, count: int) -> list[str]:
    """What judging would do; builds nothing."""
    sizes = ", ".join(map(str, bench.settings.sizes))
    return [
        f"Donors: {', '.join(bench.zoo.names)}, at {sizes} px.",
        "Would fit every stitch on offer, unless that was done before, and judge every donor.",
        f"Would build and judge {count} networks of one stitch, a stratified sample; those judged "
        "before are read back.",
        "Would keep their drops for later builds. Nothing was judged (--dry-run).",
    ]
