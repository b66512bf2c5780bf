"""The graph that is handed out: the build's own, of another batch or input, with metadata."""

import json
from pathlib import Path

import onnx
from onnx import ModelProto
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError, infer_shapes

from compiler.batching import rebatch
from compiler.picture_input import with_picture_input
from derycc.manifest import Manifest
from targets.errors import VerificationError

EXTERNAL_OVER = 2**31 - 2**20
"""Bytes from which weights go into a file of their own: a protobuf ends at 2 GiB."""

_SMALLEST_APART = 1024


def export_graph(
    model: bytes, manifest: Manifest, labels: tuple[str, ...], batch: int | None, picture: bool
) -> ModelProto:
    """A build's graph as it is handed out.

    Args:
        model: its model.onnx.
        manifest: what it says of itself.
        labels: names of the classes.
        batch: images at once; None: any number.
        picture: take uint8 pictures, and normalize them inside.

    Raises:
        UsageError: the graph cannot be given another batch or input.
    """
    proto = rebatch(ModelProto.FromString(model), batch)
    network = manifest.network
    if picture:
        proto = with_picture_input(proto, network.mean, network.std)
    told = {
        "derycc": manifest.derycc,
        "classes": json.dumps(labels, ensure_ascii=False),
        "input_size": str(network.input_size),
        "crop": str(network.crop),
        "interpolation": network.interpolation,
        "mean": json.dumps(network.mean),
        "std": json.dumps(network.std),
        "preprocessing": "inside: uint8 NHWC, resized and cropped" if picture else "outside",
        "donors": json.dumps(
            [{"name": d.name, "source": d.source, "licence": d.licence} for d in manifest.donors]
        ),
        "segments": json.dumps([f"{s.model}[{s.start}..{s.end}]" for s in network.segments]),
        "model_sha256": manifest.files["model.onnx"],
    }
    onnx.helper.set_model_props(proto, told)
    proto.producer_name, proto.producer_version = "derycc", manifest.derycc
    return infer_shapes(proto)


def save_graph(proto: ModelProto, path: Path, external_over: int = EXTERNAL_OVER) -> list[Path]:
    """Write a graph, and its weights beside it where it is large; checked in full.

    Returns:
        The files, the one that names the others last.

    Raises:
        VerificationError: it is no valid ONNX.
        OSError: the folder cannot be written.
    """
    files = [path]
    if proto.ByteSize() > external_over:
        beside = path.with_name(f"{path.name}.data")
        onnx.save_model(
            proto,
            path,
            save_as_external_data=True,
            location=beside.name,
            size_threshold=_SMALLEST_APART,
        )
        files.insert(0, beside)
    else:
        path.write_bytes(proto.SerializeToString(deterministic=True))
    try:
        onnx.checker.check_model(path, full_check=True)
    except (ValidationError, InferenceError) as error:
        raise VerificationError(
            f"The graph that would be handed out is no valid ONNX: {str(error).splitlines()[0]} "
            "Nothing was written. Export without --dynamic-batch and --batch, and report this."
        ) from error
    return files
