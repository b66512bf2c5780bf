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
    return _in_python(place, manifest, batch, picture)


def _in_python(place: Path, manifest: Manifest, batch: int | None, picture: bool) -> list[str]:
    """A file that ONNX Runtime loads, from a photograph to the first answer."""
    wants, count = manifest.network, batch or 1
    size, resampling = wants.input_size, wants.interpolation.upper()
    mean, std = ([round(number, 6) for number in numbers] for numbers in (wants.mean, wants.std))
    lines = [
        "import json, numpy, onnxruntime",
        "from PIL import Image, ImageOps",
        'photo = Image.open("PHOTO").convert("RGB")',
        f"pixels = numpy.asarray(ImageOps.fit(photo, ({size}, {size}), Image.{resampling}))",
    ]
    if picture:
        lines.append(f"image = numpy.stack([pixels] * {count})")
    else:
        lines += [
            f"ready = ((pixels / 255 - {mean}) / {std}).astype(numpy.float32).transpose(2, 0, 1)",
            f"image = numpy.stack([ready] * {count})",
        ]
    return [
        *lines,
        f"session = onnxruntime.InferenceSession({str(place)!r})",
        f"(logits,) = session.run(None, {{'image': image}})  # {_input(manifest, batch, picture)}",
        "names = json.loads(session.get_modelmeta().custom_metadata_map['classes'])",
        "print(names[logits[0].argmax()])",
    ]


def _input(manifest: Manifest, batch: int | None, picture: bool) -> str:
    """What the graph takes, in words."""
    size, count = manifest.network.input_size, "n" if batch is None else str(batch)
    return (
        f"({count}, {size}, {size}, 3) uint8"
        if picture
        else f"({count}, 3, {size}, {size}) float32"
    )
