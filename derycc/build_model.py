"""The model of a build, as it is loaded from a folder that anybody may have made."""

import hashlib
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto

from backends.bounded import check_bounds
from backends.model import ExportedModel, TensorSpec
from derycc.build_files import MOST_WEIGHTS, read_file, read_lines
from derycc.manifest import Manifest, changed, check_files, read_manifest
from targets.errors import UsageError

MODEL, LABELS = "model.onnx", "labels.txt"


def open_build(folder: Path) -> tuple[Manifest, ExportedModel]:
    """A build's manifest and its model, all of its files being those that were written.

    Raises:
        UsageError: it is no finished build, or was changed, or its model is none.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    return manifest, load_model(folder, manifest)


def load_model(folder: Path, manifest: Manifest) -> ExportedModel:
    """The model of a build: the one that the manifest is about, and such as a build writes.

    Raises:
        UsageError: it cannot be read, is another, or is no network for pictures.
    """
    content = read_file(folder, MODEL, MOST_WEIGHTS)
    found = hashlib.sha256(content).hexdigest()
    if found != manifest.files[MODEL]:
        raise changed(folder / MODEL, found, manifest.files[MODEL])
    try:
        check_bounds(ModelProto.FromString(content), str(folder / MODEL))
        model = ExportedModel.from_bytes(content, name=Path(MODEL).stem)
    except (DecodeError, UnicodeDecodeError) as error:  # the latter of a name that is no text
        raise UsageError(
            f"{folder / MODEL} is no ONNX model. Build again, or restore it."
        ) from error
    _check_edges(folder, manifest, model)
    return model


def read_labels(folder: Path) -> tuple[str, ...]:
    """Names of the classes.

    Raises:
        UsageError: they cannot be read.
    """
    return read_lines(folder, LABELS)


def _check_edges(folder: Path, manifest: Manifest, model: ExportedModel) -> None:
    size = manifest.network.input_size
    wanted = TensorSpec("image", (1, 3, size, size), "float32", "NCHW")
    (first, *more), (last, *others) = model.inputs or (None,), model.outputs or (None,)
    fits = first == wanted and last is not None and last.name == "logits"
    if not fits or more or others or last is None or last.dtype != "float32":
        raise UsageError(
            f"{folder / MODEL} takes {_words(model.inputs)} and answers with "
            f"{_words(model.outputs)}; by the manifest it takes {_words((wanted,))} and answers "
            "with 'logits'. Build again, or restore it."
        )
    classes = len(read_labels(folder))
    if last.shape != (1, classes):
        raise UsageError(
            f"{folder / MODEL} answers with {_words((last,))}, and {LABELS} names {classes} "
            "classes. Build again, or restore them."
        )


def _words(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{s.name!r:.60} {s.dtype} {s.shape}" for s in specs[:3]) or "nothing"
