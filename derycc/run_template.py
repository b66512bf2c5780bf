#!/usr/bin/env python3
"""Classify a photograph with this network. Needs onnxruntime, numpy, pillow."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parent


def prepare(
    image: Image.Image,
    size: int,
    crop: float,
    interpolation: str,
    statistics: tuple[Sequence[float], Sequence[float]],
) -> np.ndarray:
    """Resize the short side, crop the centre, normalize: (1, 3, S, S) float32."""
    image = image.convert("RGB")
    short, (width, height) = math.floor(size / crop), image.size
    if width <= height:
        width, height = short, int(short * height / width)
    else:
        width, height = int(short * width / height), short
    image = image.resize((width, height), Image.Resampling[interpolation.upper()])
    left, top = round((width - size) / 2), round((height - size) / 2)
    image = image.crop((left, top, left + size, top + size))
    mean, std = (np.asarray(each, dtype=np.float32) for each in statistics)
    pixels = (np.asarray(image, dtype=np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def main() -> None:
    """Print the five best labels of the photograph named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python run.py PHOTO")
    import onnxruntime

    said = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))["network"]
    labels = (FOLDER / "labels.txt").read_text(encoding="utf-8").splitlines()
    try:
        image = Image.open(sys.argv[1]).convert("RGB")
    except OSError as error:
        sys.exit(f"cannot read {sys.argv[1]} as a photograph: {error}")
    statistics = said["mean"], said["std"]
    inputs = prepare(image, said["input_size"], said["crop"], said["interpolation"], statistics)
    session = onnxruntime.InferenceSession(str(FOLDER / "model.onnx"))
    (logits,) = session.run(None, {session.get_inputs()[0].name: inputs})
    scores = np.exp(logits[0] - logits[0].max())
    scores /= scores.sum()
    for index in np.argsort(-scores)[:5]:
        label = labels[index] if index < len(labels) else f"class {index}"
        print(f"{scores[index]:6.1%}  {label}")


if __name__ == "__main__":
    main()
