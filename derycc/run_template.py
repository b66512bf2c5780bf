#!/usr/bin/env python3
"""Classify a photograph with this network. Needs onnxruntime, numpy, pillow."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parent


def cropped(image: Image.Image, network: dict[str, Any]) -> Image.Image:
    """Resize the short side and crop the centre: S by S pixels."""
    image, size = image.convert("RGB"), network["input_size"]
    short, (width, height) = math.floor(size / network["crop"]), image.size
    if width <= height:
        width, height = short, int(short * height / width)
    else:
        width, height = int(short * width / height), short
    image = image.resize((width, height), Image.Resampling[network["interpolation"].upper()])
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def prepare(image: Image.Image, network: dict[str, Any]) -> np.ndarray:
    """Resize, crop and normalize: (1, 3, S, S) float32."""
    return normalized(cropped(image, network), network)


def normalized(image: Image.Image, network: dict[str, Any]) -> np.ndarray:
    """The pixels of a cropped picture as the network takes them: (1, 3, S, S) float32."""
    pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
    pixels = (pixels - np.float32(network["mean"])) / np.float32(network["std"])
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def logits(image: Image.Image) -> np.ndarray:
    """What the network answers to one photograph: (classes,) float32."""
    import onnxruntime

    network = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))["network"]
    options = onnxruntime.SessionOptions()
    # As it was measured: without this, numbers too small to matter make some networks slow.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(str(FOLDER / "model.onnx"), options)
    (answer,) = session.run(None, {"image": prepare(image, network)})
    return np.asarray(answer[0])


def main() -> None:
    """Print the five best labels of the photograph named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python run.py PHOTO")
    try:
        image = Image.open(sys.argv[1]).convert("RGB")
    except OSError as error:
        sys.exit(f"cannot read {sys.argv[1]} as a photograph: {error}")
    labels = (FOLDER / "labels.txt").read_text(encoding="utf-8").splitlines()
    answer = logits(image)
    scores = np.exp(answer - answer.max())
    scores /= scores.sum()
    for index in np.argsort(-scores)[:5]:
        label = labels[index] if index < len(labels) else f"class {index}"
        print(f"{scores[index]:6.1%}  {label}")


if __name__ == "__main__":
    main()
