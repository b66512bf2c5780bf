"""Int8 judge: what a block in 8-bit integers does to its donor's answers, measured.

Each block by itself is put in int8 inside its donor, and the donor's engine answers the calibration
photographs, those that choose first. Nothing but ranges of activations is told by any of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil, isnan
from pathlib import Path

import numpy as np

from backends.deviation import cosines
from backends.kernels import executed, integer_share
from backends.model import ExportedModel
from backends.quantization import Quantizer, Scheme, run_prefix, versions
from backends.registry import get_backend
from compiler.answers import Image, Logits, engine_answers, inputs_of
from compiler.block_exports import BlockExports
from compiler.cache import Cache, digest
from compiler.candidates import Photographs
from compiler.dissection import Block, Cut
from compiler.export import GRAPHS
from compiler.mixed import CALIBRATION_IMAGES
from compiler.preprocessing import Preprocessing
from compiler.progress import Progress, Silent
from targets.errors import UsageError
from targets.target import Target

_DIGITS = 10**7
_WORST = 2.0
_FORMAT = 1  # raised whenever the same block is judged in another way
JUDGES = 48
"""Most photographs that a block is judged by."""


@dataclass(frozen=True, slots=True)
class Int8Loss:
    """What a block in int8 costs its donor.

    Attributes:
        error: 1 - cosine of the donor's logits to those in float, the greatest of all photographs;
            errors of several blocks add up as long as they are small and independent.
        changed: share of photographs whose first answer is another.
        drop: share of right answers that is lost, where there are labels; else `changed`.
        integer: share of the block's multiply-accumulates that integer kernels did.
        weight_bytes: what the donor's weights take more, or less where it is negative.
    """

    error: float
    changed: float
    drop: float
    integer: float
    weight_bytes: int


class Int8Judge:
    """Judges blocks; what was judged before is read back."""

    def __init__(
        self,
        exports: BlockExports,
        photographs: Photographs,
        cache: Cache,
        target: Target,
        scheme: Scheme | None = None,
    ) -> None:
        """Take the parts.

        Args:
            exports: the donors' graphs.
            photographs: the fitting ones calibrate, all that calibrate judge.
            cache: where losses are kept.
            target: what runs them; its backend has to run int8.
            scheme: how blocks are quantized; None: as this machine runs it fastest.
        """
        self._exports = exports
        self._photographs = photographs
        self._cache = cache
        self._target = target
        self._scheme = scheme or Scheme.native()
        images = photographs.fitting.digest, photographs.choosing.digest
        how = self._scheme, versions(), GRAPHS, target.backend, _FORMAT
        self._of_all = images, how

    def missing(self, blocks: Iterable[Block]) -> tuple[Block, ...]:
        """Those of the blocks that nobody has judged yet."""
        return tuple(block for block in blocks if not self._path(block).exists())

    def losses(
        self, blocks: Iterable[Block], progress: Progress | None = None
    ) -> dict[str, Int8Loss]:
        """What each block costs its donor, by `Block.name`; without those that have no int8 form.

        Args:
            blocks: of any donors; those of one donor are best named together.
            progress: told of every block that is judged now.
        """
        wanted, told = list(blocks), progress or Silent()
        todo = self.missing(wanted)
        if todo:
            told.start("judging blocks in int8", len(todo))
        done = 0
        for key in dict.fromkeys((block.model, block.size) for block in todo):
            own = [block for block in todo if (block.model, block.size) == key]
            trial = _Trial(self._exports, self._photographs, self._target, self._scheme, *key)
            for block in own:
                told.update(done, block.name)
                judged = partial(trial.judged, block.start, block.end)
                self._cache.json("int8", self._key(block), judged)
                done += 1
        if todo:
            told.finish()
        found = {block.name: self._read(block) for block in wanted}
        return {name: loss for name, loss in found.items() if loss is not None}

    def _read(self, block: Block) -> Int8Loss | None:
        value = self._cache.json("int8", self._key(block), dict)
        return Int8Loss(**value) if value else None

    def _path(self, block: Block) -> Path:
        return self._cache.path("int8", self._key(block)).with_suffix(".json")

    def _key(self, block: Block) -> str:
        identity = self._exports.donors.model(block.model).identity
        return digest(identity, block.name, *self._of_all)


class _Trial:
    """One donor, quantized block by block."""

    def __init__(
        self,
        exports: BlockExports,
        photographs: Photographs,
        target: Target,
        scheme: Scheme,
        model: str,
        size: int,
    ) -> None:
        donors = exports.donors
        preprocessing = donors.preprocessing(model, size)
        cuts = donors.dissection(model, size).cuts
        marks = [exports.mark(model, size, cut) for cut in cuts]
        self._marks = dict(zip((cut.name for cut in cuts), marks, strict=True))
        marked = exports.marked(model, size)
        self._input = marks[0]
        arriving = inputs_of(preprocessing, photographs.fitting, CALIBRATION_IMAGES)
        samples = [{marks[0]: image} for image in arriving]
        self._quantizer = Quantizer(marked, samples, scheme, marks[1:-1])
        self._images = list(_judging(preprocessing, photographs))
        self._labels = _labels(photographs)
        self._target = target
        self._float = self._answers(self._quantizer.in_float)
        self._weight_bytes = self._quantizer.in_float.weight_bytes

    def judged(self, start: Cut, end: Cut) -> dict[str, float]:
        """The loss of a run of blocks, as JSON; empty where it has no int8 form."""
        try:
            variant = self._quantizer.quantized([(self._marks[start.name], self._marks[end.name])])
        except UsageError:
            return {}
        kernels = executed(variant, self._target)
        own = [kernel for kernel in kernels if kernel.node.startswith(run_prefix(0))]
        answers = self._answers(variant)
        return asdict(
            Int8Loss(
                error=_rounded_up(float((1.0 - cosines(self._float, answers)).max())),
                changed=float((answers.argmax(1) != self._float.argmax(1)).mean()),
                drop=self._drop(answers),
                integer=integer_share(own),
                weight_bytes=variant.weight_bytes - self._weight_bytes,
            )
        )

    def _drop(self, answers: Logits) -> float:
        before, after = self._float.argmax(1), answers.argmax(1)
        if self._labels is None:
            return float((before != after).mean())
        truth = np.asarray(self._labels)
        return float((before == truth).mean() - (after == truth).mean())

    def _answers(self, model: ExportedModel) -> Logits:
        with get_backend(self._target.backend).compile(model, self._target) as engine:
            return engine_answers(engine, self._images, self._input)


def _rounded_up(error: float) -> float:
    """An error as a decimal of seven digits: what a solver adds up without rounding.

    It is never nothing; answers that are no numbers have the greatest error there is.
    """
    return _WORST if isnan(error) else max(1, ceil(error * _DIGITS)) / _DIGITS


def _judging(preprocessing: Preprocessing, photographs: Photographs) -> Iterator[Image]:
    """What a donor is judged by: photographs that choose, then those that are fitted to."""
    choosing = photographs.choosing
    yield from inputs_of(preprocessing, choosing, JUDGES)
    yield from inputs_of(preprocessing, photographs.fitting, max(0, JUDGES - len(choosing)))


def _labels(photographs: Photographs) -> tuple[int, ...] | None:
    choosing, fitting = photographs.choosing.labels, photographs.fitting.labels
    return None if choosing is None or fitting is None else (*choosing, *fitting)[:JUDGES]
