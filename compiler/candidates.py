"""Candidates: networks that are really built, tuned, judged and measured whole."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from safetensors.torch import load_file, save

from backends.deviation import cosines
from backends.model import ExportedModel, TensorSpec
from backends.quantization import Scheme, versions
from backends.registry import get_backend
from compiler.answers import Logits, answer, engine_answers, inputs_of
from compiler.cache import Cache, digest, write_atomic
from compiler.design import Design, DesignedNetwork, build_design, build_tuned, has_int8
from compiler.donors import Donors
from compiler.export import GRAPHS, INPUT_NAME, OUTPUT_NAME, export
from compiler.folding import fold
from compiler.images import ImageSet
from compiler.judged import MAX_DROP, Int8Judged, Judged
from compiler.mixed import export_mixed
from compiler.network import Blueprint, Network
from compiler.preprocessing import Preprocessing
from compiler.quality import Quality, judge
from compiler.views import Views
from profilers.measurement import Measurement
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.errors import DataError
from targets.target import Target

REPEATS = 2
"""How often a noisy measurement of a whole network is taken again; the narrowest one counts."""

FITTING_SHARE = 0.6
"""Share of the calibration images that is fitted to; the rest chooses between candidates."""

WEIGHTS, MODEL, QUALITY = "network.safetensors", "model.onnx", "quality.json"


@dataclass(frozen=True, slots=True)
class Photographs:
    """The images of a build, split once and for all.

    Attributes:
        calibration: stitches are fitted on some of these, candidates are chosen on the others.
        held_out: nothing is fitted or chosen on these; reported quality comes from them.
        views_per_image: crops and flips of each image that is fitted to.
    """

    calibration: ImageSet
    held_out: ImageSet
    views_per_image: int = 4

    def __post_init__(self) -> None:
        """Refuse images that would be judged by what was fitted to them."""
        known = dict(zip(self.calibration.hashes, self.calibration.paths, strict=True))
        for found, path in zip(self.held_out.hashes, self.held_out.paths, strict=True):
            if found in known:
                raise DataError(
                    f"The photograph {path} is also there to calibrate with ({known[found]}), so "
                    "it cannot judge. Remove one of the two, or name other judges by --judge-data."
                )

    @property
    def fitting(self) -> ImageSet:
        """The calibration images that stitches and batch-norm statistics are fitted to."""
        return self.calibration.split(FITTING_SHARE, seed=1)[0]

    @property
    def choosing(self) -> ImageSet:
        """The calibration images that candidates are chosen by: nothing is fitted to them."""
        return self.calibration.split(FITTING_SHARE, seed=1)[1]

    def verifying(self, most: int, int8: bool = False) -> tuple[ImageSet, ...]:
        """Up to so many images to compare an engine with its network on: held-out ones first.

        Whether an engine computes what its network does has nothing to do with what the network
        was fitted to, so calibration images serve where there are too few others; but not for one
        in int8, whose ranges come from them.
        """
        held_out = self.held_out.subset(range(min(most, len(self.held_out))))
        others = self.calibration.subset(range(min(most - len(held_out), len(self.calibration))))
        return (held_out, others) if len(others) and not int8 else (held_out,)

    @property
    def digest(self) -> str:
        """Changes with any image, label, split or number of views."""
        return digest(self.calibration.digest, self.held_out.digest, self.views_per_image)


@dataclass(frozen=True, slots=True)
class Latencies:
    """What was measured of a network's latency.

    Attributes:
        here: on the target.
        elsewhere: on other targets, by target.
    """

    here: Measurement
    elsewhere: tuple[tuple[str, Measurement], ...] = ()

    @property
    def noisy(self) -> bool:
        """Whether it is not to be trusted on some target."""
        return self.here.noisy or any(measured.noisy for _, measured in self.elsewhere)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network that was built, with everything measured about it.

    Attributes:
        design: what it is made of.
        model: the network as ONNX: the one that is emitted, and the one that was measured.
        weights: safetensors file of the torch network.
        judged: its quality.
        latency: its measured latency on the target.
        elsewhere: the same on other targets, by target.
    """

    design: Design
    model: ExportedModel
    weights: Path
    judged: Judged
    latency: Measurement
    elsewhere: tuple[tuple[str, Measurement], ...] = ()

    def on(self, target: str) -> Measurement:
        """Its measured latency on another target."""
        return dict(self.elsewhere)[target]

    @property
    def latencies(self) -> Latencies:
        """Its measured latency on all targets."""
        return Latencies(self.latency, self.elsewhere)

    @property
    def blueprint(self) -> Blueprint:
        """What a network is made of that no recipe describes."""
        assert isinstance(self.design, Blueprint)
        return self.design


class Candidates:
    """Builds and judges networks; what was once built is read back."""

    def __init__(
        self,
        donors: Donors,
        photographs: Photographs,
        cache: Cache,
        target: Target,
        store: CostStore,
        protocol: Protocol,
        reference: str,
        elsewhere: Sequence[Target] = (),
        max_drop: float = MAX_DROP,
    ) -> None:
        """Take the parts.

        Args:
            donors: the zoo.
            photographs: what to fit and judge on.
            cache: where built networks are kept.
            target: where they are measured.
            store: where their samples are kept.
            protocol: how they are measured.
            reference: the donor that agreement is counted with, at its own input size.
            elsewhere: other targets that they are measured on, too.
            max_drop: most score that int8 may cost a network.
        """
        self.donors = donors
        self.photographs = photographs
        self.reference = donors.model(reference).name
        self._cache = cache
        self._target = target
        self._elsewhere = tuple(elsewhere)
        self._store = store
        self._protocol = protocol
        self._max_drop = max_drop
        self._images = photographs.digest
        self._answers: dict[str, Logits] = {}
        self._shares: dict[Blueprint, tuple[float, float]] = {}

    def quality(self, design: Design) -> Judged:
        """Build and judge a network, or read what was judged before."""
        self._ensure(design)
        content = json.loads((self._folder(design) / QUALITY).read_text())
        int8 = content.get("int8")
        return Judged(
            Quality(**content["calibration"]),
            Quality(**content["held_out"]),
            # Older files have a sum to add in its place, by which nothing right was worth some.
            content["level"] if "level" in content else self._level(design),
            int8 and Int8Judged(int8["cosine"], int8["drop"], self._max_drop),
        )

    def make(self, design: Design, fresh: bool = False) -> Candidate:
        """Build, judge and measure a network.

        Args:
            design: what it is made of.
            fresh: measure again even if the store has it.
        """
        judged = self.quality(design)
        model = self._exported(design)
        latency = self._latency(self._target, model, design, fresh)
        elsewhere = tuple(
            (str(target), self._latency(target, model, design, fresh)) for target in self._elsewhere
        )
        weights = self._folder(_in_float(design)) / WEIGHTS
        return Candidate(design, model, weights, judged, latency, elsewhere)

    def _latency(
        self, target: Target, model: ExportedModel, design: Design, fresh: bool
    ) -> Measurement:
        """On one target; what is noisy is measured again."""
        latency = self._measure(target, model, design, fresh)
        for _ in range(REPEATS):
            if latency.noisy:
                again = self._measure(target, model, design, fresh=True)
                latency = min(latency, again, key=lambda m: m.relative_half_width)
        return latency

    def recall(self, design: Design, measured: Latencies) -> Candidate:
        """The candidate as it was measured before; built and judged anew where that is gone."""
        judged = self.quality(design)
        weights = self._folder(_in_float(design)) / WEIGHTS
        return Candidate(
            design, self._exported(design), weights, judged, measured.here, measured.elsewhere
        )

    def _measure(
        self, target: Target, model: ExportedModel, design: Design, fresh: bool
    ) -> Measurement:
        table = profile(
            [model],
            target,
            store=self._store,
            protocol=self._protocol,
            inputs=lambda exported: {exported.inputs[0].name: self._photograph(design)},
            fresh=fresh,
        )
        return table.cost(model).raw

    def confirm(self, design: Design) -> Candidate:
        """The candidate with samples taken now, after it was chosen: every choice has its own."""
        return self.make(design, fresh=True)

    def network(self, design: Design) -> DesignedNetwork:
        """The torch network, tuned as it is when it is judged; float, whatever its parts are in."""
        design = _in_float(design)
        weights = self._folder(design) / WEIGHTS
        if not weights.exists():
            return self._tuned(design)
        network = build_design(design, self.donors)
        network.load_state_dict(load_file(weights))
        return network

    def _exported(self, design: Design) -> ExportedModel:
        path = self._folder(design) / MODEL
        if not path.exists():
            write_atomic(path, self._export(design).onnx)
        return ExportedModel.from_bytes(path.read_bytes(), name=str(design))

    def _export(self, design: Design) -> ExportedModel:
        network = self.network(design)
        if not has_int8(design):
            return export_network(network, design)
        assert isinstance(network, Network)
        return export_mixed(network, design, self.donors, self.photographs.fitting)

    def _ensure(self, design: Design) -> None:
        folder = self._folder(design)
        if (folder / QUALITY).exists():
            return
        judged = asdict(self._judge(design, self.network(design)))
        write_atomic(folder / QUALITY, json.dumps(judged, indent=1).encode())

    def _tuned(self, design: Design) -> DesignedNetwork:
        network = build_tuned(design, self.donors, self._views(design))
        write_atomic(self._folder(design) / WEIGHTS, save(_tensors(network)))
        return network

    def _judge(self, design: Design, network: DesignedNetwork) -> Judged:
        if has_int8(design):
            return self._judge_mixed(design, network)
        held_out = self._quality(network, "held_out", self.photographs.held_out)
        if isinstance(design, Blueprint) and not design.stitches:
            images = self.photographs.calibration
            return Judged(self._quality(network, "calibration", images), held_out)
        choosing = self._quality(network, "choosing", self.photographs.choosing)
        return Judged(choosing, held_out, self._level(design))

    def _judge_mixed(self, design: Blueprint, network: DesignedNetwork) -> Judged:
        """By what the engine answers, which is not what the torch network answers."""
        parts = {
            "choosing": self.photographs.choosing,
            "held_out": self.photographs.held_out,
        }
        with get_backend(self._target.backend).compile(self._exported(design), self._target) as e:
            answers = {
                part: engine_answers(e, inputs_of(network.preprocessing, images))
                for part, images in parts.items()
            }
        own = answer(network, parts["choosing"])
        in_float = self._score("choosing", parts["choosing"], own).score
        choosing, held_out = (self._score(p, images, answers[p]) for p, images in parts.items())
        cosine = float(cosines(own, answers["choosing"]).min())
        int8 = Int8Judged(cosine, in_float - choosing.score)
        return Judged(choosing, held_out, self._level(design), int8)

    def _level(self, design: Design) -> float:
        """The donors' mean score on all calibration images over that on the choosing part.

        1 where they have none there, for a whole donor and for a recipe.
        """
        if not isinstance(design, Blueprint) or not (design.stitches or design.quantized):
            return 1.0
        size = design.input_size
        shares = [self._donor_shares(Blueprint.pure(name, size)) for name in design.donors]
        whole, part = (fmean(column) for column in zip(*shares, strict=True))
        return whole / part if part else 1.0

    def _donor_shares(self, donor: Blueprint) -> tuple[float, float]:
        """What a donor scores on all calibration images, and on the choosing part of them."""
        if donor not in self._shares:
            part = self._quality(self.network(donor), "choosing", self.photographs.choosing)
            self._shares[donor] = self.quality(donor).calibration.score, part.score
        return self._shares[donor]

    def _quality(self, network: DesignedNetwork, part: str, images: ImageSet) -> Quality:
        return self._score(part, images, answer(network, images))

    def _score(self, part: str, images: ImageSet, answers: Logits) -> Quality:
        return judge(answers, images.labels, self._reference_answers(part, images))

    def _reference_answers(self, part: str, images: ImageSet) -> Logits:
        if part not in self._answers:
            size = self.donors.model(self.reference).preprocessing.input_size
            network = build_design(Blueprint.pure(self.reference, size), self.donors)
            self._answers[part] = answer(network, images)
        return self._answers[part]

    def _views(self, design: Design) -> Views:
        photographs = self.photographs
        return Views(photographs.fitting, self._wants(design), photographs.views_per_image)

    def _photograph(self, design: Design) -> np.ndarray:
        image = self.photographs.calibration.load(0)
        return self._wants(design).transform(image)[None].numpy()

    def _wants(self, design: Design) -> Preprocessing:
        return self.donors.preprocessing(design.segments[0].model, design.input_size)

    def _folder(self, design: Design) -> Path:
        models = map(self.donors.model, (*design.donors, self.reference))
        hashes = tuple(model.identity for model in models)
        how = (Scheme.native(), versions()) if has_int8(design) else ()
        key = digest(str(design), hashes, self._images, self.reference, GRAPHS, *how)
        return self._cache.path("networks", key)


def _in_float(design: Design) -> Design:
    return design.in_float if isinstance(design, Blueprint) else design


def export_network(
    network: DesignedNetwork, design: Design, name: str = "network"
) -> ExportedModel:
    """A design's torch network as the graph that is measured, verified and emitted; folded."""
    spec = TensorSpec(INPUT_NAME, (1, 3, design.input_size, design.input_size))
    return fold(export(network, spec, name, OUTPUT_NAME)).model


def _tensors(network: DesignedNetwork) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
