"""What a manifest must say to be used: a build may come from anybody, and its words are checked."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from derycc.build_files import is_plain_name

if TYPE_CHECKING:
    from derycc.manifest import Manifest

NEEDED = ("model.onnx", "labels.txt")
_SIZES = range(8, 4097)
_LEAST_CROP = 0.1
_LEAST_GATE = 0.9
_INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos", "box", "hamming")


def fault(manifest: "Manifest") -> str:
    """What is wrong with a manifest, in words; empty if nothing is."""
    return _files(manifest) or _picture(manifest) or _numbers(manifest)


def _files(manifest: "Manifest") -> str:
    for name in manifest.files:
        if not is_plain_name(name):
            return f"files: {name!r:.80} is no file of the build's own folder"
    missing = [name for name in NEEDED if name not in manifest.files]
    return f"files: {missing[0]} is missing" if missing else ""


def _picture(manifest: "Manifest") -> str:
    wants = manifest.network
    if wants.input_size not in _SIZES:
        return f"network.input_size: {wants.input_size} is no size of a picture"
    if not _LEAST_CROP <= wants.crop <= 1:
        return f"network.crop: {wants.crop} is no share of a picture, {_LEAST_CROP} to 1"
    if wants.interpolation not in _INTERPOLATIONS:
        return f"network.interpolation: {wants.interpolation!r:.60} is none"
    if not _LEAST_GATE <= manifest.verified.gate <= 1:
        return f"verified.gate: {manifest.verified.gate} lets anything pass"
    if not all(1e-6 < one < 1e6 for one in wants.std):
        return "network.std: it is no deviation of pixels"
    return "" if wants.segments else "network.segments: there are none"


def _numbers(manifest: "Manifest") -> str:
    for place, value in _walk(manifest, ""):
        if isinstance(value, float) and not isfinite(value):
            return f"{place}: it is not a finite number"
    return ""


def _walk(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every plain value inside, with where it is; deep ones were refused when they were read."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _walk(getattr(value, field.name), f"{place}.{field.name}".lstrip("."))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{place}[{index}]")
    else:
        yield place, value
