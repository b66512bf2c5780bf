"""`Session`: a finished build, ready to answer; needs no torch and none of the donors."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backends.backend import Array, Engine
from backends.model import ExportedModel
from backends.registry import get_backend
from derycc.build_model import open_build, read_labels
from derycc.manifest import Network
from derycc.run_template import prepare
from derycc.verify_file import require_verified
from targets.errors import DataError, UsageError
from targets.target import get_target

Photo = Any
"""A file's path, a PIL image, an array or a tensor: see `Session.__call__`."""

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Label:
    """One class and how likely the network holds it.

    Attributes:
        index: of the class, from 0.
        name: what `labels.txt` of the build calls it.
        score: softmax of the logits, 0 to 1.
    """

    index: int
    name: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the network says of one photograph.

    Attributes:
        logits: (classes,), float32.
        names: of all classes.
    """

    logits: Logits = field(repr=False)
    names: tuple[str, ...] = field(repr=False)

    @property
    def best(self) -> Label:
        """The most likely class."""
        return self.top(1)[0]

    def top(self, count: int = 5) -> tuple[Label, ...]:
        """The most likely classes, best first; among equals the first."""
        scores = np.exp(self.logits - self.logits.max(), dtype=np.float64)
        scores /= scores.sum()
        order = np.argsort(-scores, kind="stable")[:count]
        return tuple(Label(int(i), self.names[i], float(scores[i])) for i in order)

    def __str__(self) -> str:
        best = self.best
        return f"{best.name} ({best.score:.1%})"


class Session:
    """A build's engine with its preprocessing and its labels; may be called from many threads.

    Made by `derycc.load`.

    Attributes:
        unverified: Why nobody knows that the engine computes what its network does, and what to do;
            None where `derycc verify`, or the build itself, found that it does.
    """

    def __init__(
        self,
        engine: Engine,
        network: Network,
        names: tuple[str, ...],
        model: ExportedModel,
        unverified: str | None = None,
    ) -> None:
        """Take a compiled engine and what the manifest says of its network."""
        self._engine = engine
        self.unverified = unverified
        self._wants = asdict(network)
        self._names = names
        (self._input,) = model.inputs

    @property
    def input_size(self) -> int:
        """Pixels a side of what the network looks at."""
        return int(self._wants["input_size"])

    def __call__(self, photo: Photo) -> Answer:
        """Answer to one photograph.

        Args:
            photo: a file's path; a PIL image; an array (H, W, 3) of uint8; or, prepared already as
                the network wants it, an array or CPU tensor (1, 3, S, S) or (3, S, S) of float32.

        Raises:
            DataError: the file is no photograph.
            UsageError: it is none of these, or the session is closed.
        """
        (logits,) = self._engine.run({self._input.name: self._prepared(photo)}).values()
        return Answer(logits[0], self._names)

    def many(self, photos: Sequence[Photo]) -> list[Answer]:
        """Answers to several photographs, in their order."""
        return [self(photo) for photo in photos]

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _prepared(self, photo: Photo) -> Array:
        if isinstance(photo, str | Path):
            photo = _opened(Path(photo))
        if isinstance(photo, Image.Image):
            return prepare(photo, self._wants)
        array = np.asarray(photo)
        if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
            return prepare(Image.fromarray(array), self._wants)
        wanted = self._input.shape
        if array.dtype == np.float32 and array.shape in (wanted, wanted[1:]):
            return np.ascontiguousarray(array.reshape(wanted))
        raise UsageError(
            f"Cannot use an array of {array.dtype.name} {array.shape} as a photograph. Give uint8 "
            f"(height, width, 3), or float32 {wanted} prepared as the network wants it, or a "
            "file's path."
        )


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"Cannot read {path} as a photograph ({error}). Give a JPEG, PNG or WebP file."
        ) from error


def open_session(build: str | Path, target: str | None) -> Session:
    """Open a build; see `derycc.load`."""
    folder = Path(build)
    manifest, model = open_build(folder)
    device = get_target(target or manifest.target)
    engine = get_backend(device.backend).compile(model, device)
    unverified = require_verified(folder, unverified=True)
    return Session(engine, manifest.network, read_labels(folder), model, unverified)
