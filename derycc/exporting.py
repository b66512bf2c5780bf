"""Exporting: a verified build as a file or folder that others run, compared before it is named."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backends.model import ExportedModel
from backends.ort_files import run_file, to_ort_format
from backends.registry import get_backend
from compiler.images import ImageSet
from compiler.progress import Progress
from compiler.verification import Verification, compare
from derycc.artifact import put_folder
from derycc.build_model import LABELS, MODEL, open_build, read_labels
from derycc.export_graph import EXTERNAL_OVER, export_graph, save_graph
from derycc.export_usage import usage
from derycc.export_zip import write_zip
from derycc.manifest import Manifest
from derycc.run_template import cropped, normalized
from derycc.session import Options, open_photographs
from derycc.triton import MAX_BATCH, TritonModel, triton_name
from derycc.verify_file import require_verified, sha256_of
from derycc.verifying import gate_of, recorded_photographs
from targets.errors import (
    DataError,
    UnknownNameError,
    UsageError,
    VerificationError,
    WorkspaceError,
    ZooError,
)
from targets.target import Target, get_target

FORMATS = ("onnx", "ort", "triton", "zip")
SUFFIXES = {"onnx": ".onnx", "ort": ".ort", "triton": "-triton", "zip": ".zip"}
COMPARED = 8
"""Photographs that what is handed out is compared on with the build's own engine."""

STRICTER = 10
"""It is the same graph: a tenth of what an engine may differ from torch is let pass."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is to be handed out.

    Attributes:
        build: its folder.
        format: one of `FORMATS`.
        out: file or folder; None: beside the build, under its name.
        batch: images at once; None: not said.
        dynamic: any number of images.
        picture: take uint8 pictures, and normalize inside the graph.
        force: replace what is there.
        unverified: go on where the build did not pass its verification.
        external_over: bytes from which weights lie beside the graph.
    """

    build: Path
    format: str
    out: Path | None = None
    batch: int | None = None
    dynamic: bool = False
    picture: bool = False
    force: bool = False
    unverified: bool = False
    external_over: int = EXTERNAL_OVER

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.format not in FORMATS:
            raise UnknownNameError("format", self.format, FORMATS)
        if self.batch is not None and self.dynamic:
            raise UsageError("--batch fixes the batch, --dynamic-batch leaves it open. Give one.")
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"Cannot take {self.batch} images at once. Use 1 or more.")
        if self.format == "zip" and (self.batch is not None or self.dynamic or self.picture):
            raise UsageError(
                "A zip holds the build as it is: --batch, --dynamic-batch and --with-preprocessing "
                "belong to the other formats. Leave them out."
            )

        if self.format == "ort" and self.out is not None and self.out.suffix != ".ort":
            raise UsageError(
                f"ONNX Runtime knows its own format by the name, and {self.out.name} does not end "
                "in .ort. Name it so."
            )

    @property
    def place(self) -> Path:
        """Where it goes."""
        name = self.build.resolve().name
        return self.out or self.build.resolve().parent / f"{name}{SUFFIXES[self.format]}"

    @property
    def graph_batch(self) -> int | None:
        """The batch of the graph; None: any."""
        if self.format == "triton":
            return 1 if self.batch == 1 else None
        return None if self.dynamic else self.batch or 1


@dataclass(frozen=True, slots=True)
class Exported:
    """What was handed out.

    Attributes:
        path: file or folder.
        files: sha256 of every file, by its path inside.
        compared: its answers beside those of the build's own engine.
        notes: what must be said of it.
        usage: how to use it, in lines.
    """

    path: Path
    files: dict[str, str]
    compared: Verification
    notes: tuple[str, ...]
    usage: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """For `--json`."""
        found = self.compared
        return {
            "path": str(self.path),
            "files": self.files,
            "images": found.images,
            "cosine": found.cosine,
            "max_abs_error": found.max_abs_error,
            "notes": list(self.notes),
            "usage": list(self.usage),
        }

    @property
    def _inside(self) -> str:
        """The files that it is of, where these are several."""
        return f" ({', '.join(self.files)})" if len(self.files) > 1 else ""

    def lines(self) -> list[str]:
        """For people."""
        found = self.compared
        return [
            f"Written to {self.path}{self._inside}.",
            f"Its answers are the build's own: least cosine {found.cosine:.7f}, largest difference "
            f"{found.max_abs_error:.2g} on {found.images} pictures.",
            *(f"Note: {note}" for note in self.notes),
            "Use it:",
            *(f"    {line}" for line in self.usage),
        ]


def export_build(request: ExportRequest, options: Options, progress: Progress) -> Exported:
    """Make a file or folder of a build, compare its answers, and only then give it its name.

    Args:
        request: what is to be handed out.
        options: home, and photographs to compare on.
        progress: told about what takes time.

    Raises:
        UsageError: the folder is no build, its files were changed, or something is in the way.
        VerificationError: the build did not pass its verification, or what would be handed out
            answers otherwise than the build.
        WorkspaceError: the place cannot be written.
    """
    manifest, model = open_build(request.build)
    caution, place = require_verified(request.build, request.unverified), request.place
    _check_place(place, request)
    pictures, notes = _pictures(manifest, options, progress)
    progress.start(f"exporting {request.build.name} as {request.format}", None)
    with _temporary(place) as folder:
        made = _Made(request, manifest, model, folder, place.name)
        made.write()
        found = made.compare(pictures)
        if not found.passed:
            raise VerificationError(
                f"The {request.format} of {request.build} does not answer as the build does: "
                f"{'; '.join(found.failures)}. Nothing was written. Export it without "
                "--dynamic-batch and --batch: the network may hold its batch inside."
            )
        files = made.put(place)
    progress.finish()
    said = (*([caution] if caution else ()), *notes)
    lines = usage(request.format, place, manifest, request.graph_batch, request.picture)
    return Exported(place, files, found, said, tuple(lines))


@contextmanager
def _temporary(place: Path) -> Iterator[Path]:
    """A folder beside the place, so that what is made there is moved and not copied."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".derycc-") as temporary:
            yield Path(temporary)
    except OSError as error:
        raise WorkspaceError(
            f"Cannot write {place}: {error.strerror or error}. Name another place with --out."
        ) from error


def _check_place(place: Path, request: ExportRequest) -> None:
    """Refuse to replace what nobody said may be replaced, or what is of another kind."""
    if not place.exists() and not place.is_symlink():
        return
    if not request.force:
        raise UsageError(f"{place} is there already. Say --force to replace it, or name another.")
    ours = request.format == "triton" and any(place.glob("*/config.pbtxt"))
    if place.is_dir() and not ours:
        raise UsageError(f"{place} is a folder of something else. Name another place with --out.")


def _pictures(
    manifest: Manifest, options: Options, progress: Progress
) -> tuple[list[Image.Image], tuple[str, ...]]:
    """Photographs as the network sees them, resized and cropped; noise where there are none."""
    wants = asdict(manifest.network)
    try:
        used = recorded_photographs(options, manifest)
        sets: Sequence[ImageSet] = open_photographs(used, progress).verifying(COMPARED)
    except (ZooError, DataError) as error:
        if options.data is not None:
            raise
        random = np.random.default_rng(0)
        size = manifest.network.input_size
        noise = random.integers(0, 256, (COMPARED, size, size, 3), dtype=np.uint8)
        note = f"It was compared on noise, as there are no photographs ({error})."
        return [Image.fromarray(one) for one in noise], (note,)
    return [cropped(s.load(i), wants) for s in sets for i in range(len(s))], ()


@dataclass(frozen=True, slots=True)
class _Made:
    """What is being made, in a temporary folder."""

    request: ExportRequest
    manifest: Manifest
    model: ExportedModel
    folder: Path
    name: str

    @property
    def target(self) -> Target:
        return get_target(self.manifest.target)

    @property
    def whole(self) -> Path:
        """The file, or the folder of the model repository."""
        return self.folder / self.name

    def write(self) -> None:
        """Make it."""
        if self.request.format == "zip":
            write_zip(self.request.build, self.manifest, self.whole)
        elif self.request.format == "triton":
            self._write_triton()
        elif self.request.format == "ort":
            inside = self._emptied("onnx")
            save_graph(self._graph(), inside / "network.onnx")
            to_ort_format(inside / "network.onnx", self._emptied("ort") / self.name)
            (self.folder / "ort" / self.name).rename(self.whole)
        else:
            save_graph(self._graph(), self.whole, self.request.external_over)

    def _emptied(self, name: str) -> Path:
        made = self.folder / name
        made.mkdir()
        return made

    def _graph(self) -> Any:
        request = self.request
        return export_graph(
            self.model.onnx, self.manifest, self._labels, request.graph_batch, request.picture
        )

    @property
    def _labels(self) -> tuple[str, ...]:
        return read_labels(self.request.build)

    def _write_triton(self) -> None:
        request = self.request
        name = triton_name(request.build.resolve().name)
        home = self.whole / name
        (home / "1").mkdir(parents=True)
        made = TritonModel(
            name,
            self.manifest.network.input_size,
            len(self._labels),
            MAX_BATCH if request.batch is None else request.batch,
            request.picture,
            self.target.threads,
        )
        (home / "config.pbtxt").write_text(made.config(), encoding="utf-8")
        shutil.copyfile(request.build / LABELS, home / LABELS)
        save_graph(self._graph(), home / "1" / MODEL, request.external_over)

    def compare(self, pictures: Sequence[Image.Image]) -> Verification:
        """Its answers beside those of the build's own engine."""
        wants = asdict(self.manifest.network)
        ready = [normalized(picture, wants) for picture in pictures]
        with get_backend(self.target.backend).compile(self.model, self.target) as engine:
            expected = [next(iter(engine.run({"image": one}).values())) for one in ready]
        given = [np.asarray(p)[None] for p in pictures] if self.request.picture else ready
        feeds, counts = _batches(given, self.request.graph_batch)
        with self._runnable() as path:
            answers = run_file(path, feeds)
        rows = [
            row
            for answer, count in zip(answers, counts, strict=True)
            for row in answer["logits"][:count]
        ]
        gate = gate_of(self.request.build, self.manifest)
        gate = replace(gate, cosine=1 - (1 - gate.cosine) / STRICTER)
        return compare(np.concatenate(expected), np.stack(rows), gate=gate)

    @contextmanager
    def _runnable(self) -> Iterator[Path]:
        """The model file as whoever gets it will load it."""
        if self.request.format == "triton":
            (found,) = self.whole.glob("*/1/model.onnx")
            yield found
        elif self.request.format == "zip":
            inside = self._emptied("unpacked")
            with zipfile.ZipFile(self.whole) as archive:
                yield Path(archive.extract(MODEL, inside))
        else:
            yield self.whole

    def put(self, place: Path) -> dict[str, str]:
        """Give it its name; weights beside a graph come first."""
        if self.whole.is_dir():
            inside = sorted(path for path in self.whole.rglob("*") if path.is_file())
            files = {str(path.relative_to(self.whole)): sha256_of(path) for path in inside}
            put_folder(self.whole, place, self.folder)
            return files
        data = self.whole.with_name(f"{self.name}.data")
        moved = [path for path in (data, self.whole) if path.exists()]
        files = {path.name: sha256_of(path) for path in moved}
        for path in moved:
            path.chmod(0o644)
            path.replace(place.with_name(path.name))
        return files


def _batches(
    given: Sequence[np.ndarray], batch: int | None
) -> tuple[list[dict[str, np.ndarray]], list[int]]:
    """Inputs for a graph of this batch, and how many answers of each count.

    A graph of any batch gets one picture, then two, then the rest.
    """
    sizes = [1, 2, len(given)] if batch is None else [batch] * len(given)
    feeds, counts, at = [], [], 0
    for size in sizes:
        part = list(given[at : at + size])
        if not part:
            break
        at += len(part)
        counts.append(len(part))
        if batch is not None:
            part += [part[-1]] * (batch - len(part))
        feeds.append({"image": np.concatenate(part)})
    return feeds, counts
