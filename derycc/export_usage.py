"""How to use what was made, in lines that can be copied."""

from pathlib import Path
from shlex import quote

from derycc.manifest import Manifest


def build_usage(folder: Path) -> list[str]:
    """Of a build."""
    return [
        f"python {quote(str(folder / 'run.py'))} PHOTO",
        f"python -c \"import derycc; print(derycc.load('{folder}')('PHOTO'))\"",
        f"derycc export {quote(str(folder))} --format onnx|ort|triton|zip",
    ]


def usage(
    form: str, place: Path, manifest: Manifest, batch: int | None, picture: bool
) -> list[str]:
    """Of what was exported.

    Args:
        form: onnx, ort, triton or zip.
        place: where it is.
        manifest: of the build.
        batch: images at once; None: any number.
        picture: whether it takes uint8 pictures.
    """
    if form == "zip":
        return [
            f"unzip {quote(str(place))} -d network && pip install -r network/requirements.txt",
            "python network/run.py PHOTO",
        ]
    if form == "triton":
        (name,) = [path.parent.name for path in place.glob("*/config.pbtxt")]
        return [
            f"tritonserver --model-repository={quote(str(place))}",
            f"curl localhost:8000/v2/models/{name}/config",
        ]
    return [
        "import numpy, onnxruntime",
        f"session = onnxruntime.InferenceSession({str(place)!r})",
        f"(logits,) = session.run(None, {{'image': image}})  # {_input(manifest, batch, picture)}",
    ]


def _input(manifest: Manifest, batch: int | None, picture: bool) -> str:
    """What the graph takes, in words."""
    wants, count = manifest.network, "n" if batch is None else str(batch)
    size = wants.input_size
    if picture:
        return f"({count}, {size}, {size}, 3) uint8"
    normalized = f"(pixels / 255 - {list(wants.mean)}) / {list(wants.std)}"
    return f"({count}, 3, {size}, {size}) float32: {normalized}"
