"""Workbench: everything that one zoo on one target needs between profile and build."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from compiler.belief import Belief
from compiler.block_exports import BlockExports
from compiler.cache import Cache, digest
from compiler.candidates import Candidates, Photographs
from compiler.closed_loop import ClosedLoop
from compiler.compatibility import PairRule, Rule, StitchOption, stitch_options
from compiler.dissection import Dissection
from compiler.donors import Donors
from compiler.export import GRAPHS, TOOLCHAIN
from compiler.footprint import calibrated
from compiler.int8_bench import Int8Bench
from compiler.int8_judge import Int8Judge
from compiler.int8_offers import Int8Offers
from compiler.journal import Journal
from compiler.judged import MAX_DROP, Judged
from compiler.judged_stitches import JudgedStitches
from compiler.latency_model import LatencyModel
from compiler.network import Blueprint
from compiler.path_score import QualityOf
from compiler.precisions import FLOAT, INT8
from compiler.progress import Progress
from compiler.search_space import SearchSpace
from compiler.similarity_table import SimilarityTable
from compiler.stitch_judge import StitchJudge
from compiler.views import Views
from compiler.wanted import Wanted
from compiler.zoo import Zoo
from compiler.zoo_profile import ZooProfile
from compiler.zoo_similarity import zoo_similarity
from profilers.cost_table import CostTable
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.errors import DataError, ZooError
from targets.target import Target

_PROTOCOL = Protocol()
_WHOLE_PROTOCOL = Protocol(max_seconds=0.6)
_RULE = PairRule()

INT8_IMAGES = 8
"""Photographs that int8 variants are calibrated by."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a build may be told besides its budgets.

    Attributes:
        home: the workspace folder: weights, cost store, built networks.
        sizes: input sizes in pixels that networks may have.
        protocol: how blocks are measured.
        whole_protocol: how whole networks are measured.
        rule: which pairs of cuts a stitch may join.
        fresh: measure blocks anew even if the store has them.
        budget_seconds: time to measure blocks in; None: all the time that it takes.
        precision: of networks: fp32, int8 wherever there is an int8 form, or auto: as is best.
        max_drop: most score that int8 may cost a network, as a share.
    """

    home: Path
    sizes: tuple[int, ...]
    protocol: Protocol = _PROTOCOL
    whole_protocol: Protocol = _WHOLE_PROTOCOL
    rule: Rule = _RULE
    fresh: bool = False
    budget_seconds: float | None = None
    precision: str = FLOAT
    max_drop: float = MAX_DROP


class Workbench:
    """One zoo, one target, one set of photographs; every step is made once and kept."""

    def __init__(
        self,
        zoo: Zoo,
        target: Target,
        store: CostStore,
        settings: Settings,
        progress: Progress,
        photographs: Photographs | None = None,
        elsewhere: tuple[Target, ...] = (),
    ) -> None:
        """Take the parts; `elsewhere` are other targets that networks have budgets on, too."""
        self.zoo = zoo
        self.target = target
        self.store = store
        self.settings = settings
        self.donors = Donors(zoo)
        self.progress = progress
        self._photographs = photographs
        self._targets = elsewhere
        self.cache = Cache(settings.home / "cache")

    @property
    def photographs(self) -> Photographs:
        """The images of this build."""
        if self._photographs is None:
            raise DataError("This step needs photographs and none were given. Name some by --data.")
        return self._photographs

    @property
    def has_photographs(self) -> bool:
        """Whether any were given: a plan does without."""
        return self._photographs is not None

    @cached_property
    def elsewhere(self) -> tuple["Workbench", ...]:
        """The same zoo on the other targets: what a table, a model or an engine of these is."""
        return tuple(self._sibling(self.settings, target) for target in self._targets)

    @property
    def everywhere(self) -> tuple["Workbench", ...]:
        """This workbench, and those of the other targets."""
        return (self, *self.elsewhere)

    @cached_property
    def exports(self) -> BlockExports:
        """The donors' blocks as ONNX; workbenches of targets with equal precisions share them."""
        return BlockExports(self.donors, self.cache, self._calibrating)

    @cached_property
    def profile(self) -> ZooProfile:
        """Measures this zoo on this target."""
        settings = self.settings
        return ZooProfile(
            self.exports,
            self.cache,
            self.target,
            self.store,
            settings.sizes,
            settings.protocol,
            settings.rule,
        )

    @cached_property
    def wanted(self) -> Wanted:
        """What a profile of this zoo measures."""
        return self.profile.wanted(self.progress)

    @cached_property
    def table(self) -> CostTable:
        """All costs; what is missing is measured now."""
        settings, images = self.settings, self._pixels(1)
        image = images[0] if images else None
        return self.profile.measure(
            self.wanted, image, self.progress, settings.fresh, settings.budget_seconds
        )

    @property
    def _calibrating(self) -> tuple[Tensor, ...]:
        """Images that int8 variants are calibrated by, if any are wanted and there are some."""
        return self._pixels(INT8_IMAGES) if INT8 in self.target.precisions else ()

    def _pixels(self, count: int) -> tuple[Tensor, ...]:
        """The first calibration photographs (1, 3, H, W) in [0, 1]; none if none were given."""
        if self._photographs is None:
            return ()
        images, preprocessing = self.photographs.calibration, self.zoo.geometry
        first = range(min(count, len(images)))
        return tuple(preprocessing.pixels(images.load(index))[None] for index in first)

    @cached_property
    def latency_model(self) -> LatencyModel:
        """Costs as the assembly uses them."""
        return self.profile.latency_model(self.wanted, self.table)

    @cached_property
    def reference(self) -> str:
        """The donor that others are compared with: best by published top-1, else the largest."""
        return max(self.zoo.models, key=lambda m: (m.known_top1 or 0.0, m.params, m.name)).name

    @cached_property
    def candidates(self) -> Candidates:
        """Builds and judges networks."""
        return Candidates(
            self.donors,
            self.photographs,
            self.cache,
            self.target,
            self.store,
            self.settings.whole_protocol,
            self.reference,
            self._targets,
            self.settings.max_drop,
        )

    @cached_property
    def judged_donors(self) -> Mapping[tuple[str, int], Judged]:
        """Quality of every uncut donor at every input size."""
        pairs = [(name, size) for size in self.settings.sizes for name in self.donors.names]
        self.progress.start("judging the donors on photographs", len(pairs))
        found = {}
        for done, (name, size) in enumerate(pairs):
            self.progress.update(done, f"{name} at {size} px")
            found[name, size] = self.candidates.quality(Blueprint.pure(name, size))
        self.progress.finish()
        return found

    @property
    def donor_quality(self) -> QualityOf:
        """The score of every uncut donor at every input size."""
        return {key: judged.score for key, judged in self.judged_donors.items()}

    @cached_property
    def options(self) -> tuple[StitchOption, ...]:
        """The stitches offered to the solver, at all sizes."""
        return tuple(option for size in self.settings.sizes for option in self._options(size))

    @cached_property
    def space(self) -> SearchSpace:
        """The networks that can be assembled."""
        self._check_classes()
        latency, quality = self.latency_model, self.donor_quality
        calibration = calibrated(self.wanted, self.table)
        elsewhere = {str(bench.target): bench.latency_model for bench in self.elsewhere}
        return SearchSpace(
            self._dissections,
            self.options,
            latency,
            quality,
            calibration,
            elsewhere,
            self.int8_offers,
        )

    @property
    def _dissections(self) -> list[Dissection]:
        """Every donor at every input size."""
        sizes, names = self.settings.sizes, self.donors.names
        return [self.donors.dissection(name, size) for size in sizes for name in names]

    @cached_property
    def int8(self) -> Int8Bench:
        """Judges blocks in int8; needs a profile."""
        judge = Int8Judge(self.exports, self.photographs, self.cache, self.target)
        return Int8Bench(self._dissections, self.wanted, self.table, self.latency_model, judge)

    @cached_property
    def int8_offers(self) -> Int8Offers | None:
        """The blocks that networks may have in int8; None: they are asked for in float."""
        asked = self.settings.precision
        if asked == FLOAT:
            return None
        return self.int8.offers(asked == INT8, self.progress)

    @cached_property
    def similarity(self) -> SimilarityTable:
        """How alike any two boundaries of the zoo are on the calibration images.

        A donor looks at them at its own input size if networks may have it, else at the largest.
        """
        sizes, largest = self.settings.sizes, max(self.settings.sizes)
        own = {model.name: model.preprocessing.input_size for model in self.zoo}
        chosen = {name: size if size in sizes else largest for name, size in own.items()}
        images = self.photographs.calibration
        return zoo_similarity(self.donors, images, self.cache, self.progress, sizes=chosen)

    @cached_property
    def judged_stitches(self) -> JudgedStitches:
        """The drops that `derycc judge` has measured in this home, of this zoo on these images."""
        return JudgedStitches(self.cache, self.zoo, self.photographs, self.reference)

    @cached_property
    def stitch_judge(self) -> StitchJudge:
        """Measures more of them; needs no profile."""
        self._check_classes()
        quality = self.donor_quality
        return StitchJudge(
            self.options, quality, self.candidates, self.judged_stitches, self.progress
        )

    def belief(self) -> Belief:
        """What is known before anything is built: the drops that were judged in this home."""
        return Belief.seeded(self.judged_stitches.read())

    def loop(self, belief: Belief) -> ClosedLoop:
        """The closed loop over this workbench's networks."""
        here = str(self.target)
        return ClosedLoop(
            self.space, self.candidates, belief, self.progress, here=here, journals=self.journal
        )

    def journal(self, asked: str) -> Journal:
        """What was tried when this was asked for before, with this zoo on this machine."""
        key = digest(
            asked,
            tuple((str(b.target), b.table.environment.fingerprint) for b in self.everywhere),
            self.settings.whole_protocol,
            sorted(model.identity for model in self.zoo),
            self.photographs.digest,
            self.reference,
            GRAPHS,
        )
        return Journal(self.cache.path("searches", key).with_suffix(".json"))

    def joined_by(self, rule: Rule) -> "Workbench":
        """The same workbench, donors and all, where stitches join what this rule says."""
        return self._sibling(replace(self.settings, rule=rule), self.target, self._targets)

    def alone(self) -> "Workbench":
        """The same workbench without other targets."""
        return self._sibling(self.settings, self.target) if self._targets else self

    def _sibling(
        self, settings: Settings, target: Target, elsewhere: tuple[Target, ...] = ()
    ) -> "Workbench":
        made = Workbench(
            self.zoo, target, self.store, settings, self.progress, self._photographs, elsewhere
        )
        made.donors = self.donors
        if target.precisions == self.target.precisions:
            made.exports = self.exports
        return made

    def _check_classes(self) -> None:
        """Donors that answer different questions can neither be joined nor compared."""
        size = self.settings.sizes[0]
        classes = {
            name: self.donors.dissection(name, size).cuts[-1].tensor.shape[-1]
            for name in self.donors.names
        }
        if len(set(classes.values())) > 1:
            said = ", ".join(f"{name} {count}" for name, count in classes.items())
            raise ZooError(
                f"The donors have different numbers of classes ({said}), so they cannot be "
                "combined. Name donors of one task with --zoo."
            )

    def _options(self, size: int) -> tuple[StitchOption, ...]:
        dissections = [self.donors.dissection(name, size) for name in self.donors.names]
        cuts = {(d.name, cut.name): cut for d in dissections for cut in d.cuts}
        rows = self.cache.json("stitches", self._options_key(size), lambda: self._fit(size))
        return tuple(
            StitchOption(size, a, cuts[a, source], b, cuts[b, target], r2, similarity)
            for a, source, b, target, r2, similarity in rows
        )

    def _options_key(self, size: int) -> str:
        hashes = sorted(model.identity for model in self.zoo.models)
        rule = asdict(self.settings.rule)
        return digest(size, hashes, rule, self.photographs.digest, TOOLCHAIN, "r2 and similarity")

    def _fit(self, size: int) -> list[list[object]]:
        """The stitch options at one size as JSON rows."""
        photographs = self.photographs
        geometry = self.zoo.geometry.at(size)
        views = Views(photographs.fitting, geometry, photographs.views_per_image)
        checks = Views(photographs.choosing, geometry)
        self.progress.start(f"fitting all stitches at {size} px", len(views) + len(checks))
        options = stitch_options(
            [self.donors.dissection(name, size) for name in self.donors.names],
            [self.donors.preprocessing(name, size) for name in self.donors.names],
            views,
            self.settings.rule,
            self.progress.update,
            checks,
        )
        self.progress.finish(f"{len(options)} stitches at {size} px")
        return [
            [o.source_model, o.source.name, o.target_model, o.target.name, o.r2, o.similarity]
            for o in options
        ]
