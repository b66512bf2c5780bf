"""How a donor wants its picture: resized, cropped and normalized as timm does to evaluate it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from PIL import Image

from targets.errors import UsageError

Interpolation = Literal["bilinear", "bicubic"]
Triple = tuple[float, float, float]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_DEFAULT_CROP = 0.875
_DEFAULT_MEAN: Triple = (0.485, 0.456, 0.406)
_DEFAULT_STD: Triple = (0.229, 0.224, 0.225)
_VIEW_AREA = (0.35, 1.0)
_VIEW_RATIO = (3 / 4, 4 / 3)
_VIEW_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Input side in pixels, share of the short side that is kept, filter, and channel statistics.

    The defaults are those of most ImageNet networks. `mean` and `std` are RGB and
    for pixels in [0, 1].

    Raises:
        UsageError: a size, share, filter or deviation that no picture can be prepared with.
    """

    input_size: int
    crop: float = _DEFAULT_CROP
    interpolation: Interpolation = "bicubic"
    mean: Triple = _DEFAULT_MEAN
    std: Triple = _DEFAULT_STD

    def __post_init__(self) -> None:
        """Refuse what no picture can be prepared with."""
        if self.input_size < 1:
            raise UsageError(f"An input of {self.input_size} pixels a side: use 1 or more.")
        if not 0 < self.crop <= 1:
            raise UsageError(f"A crop of {self.crop}: use a share above 0 and up to 1, e.g. 0.875.")
        if self.interpolation not in _FILTERS:
            known = " or ".join(_FILTERS)
            raise UsageError(f"Interpolation '{self.interpolation}' is not known. Use {known}.")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(s > 0 for s in self.std):
            raise UsageError(
                f"Mean {self.mean} and deviation {self.std}: three numbers each are needed, "
                "one per colour channel, the deviations above 0."
            )

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "Preprocessing":
        """Read timm's names: `input_size` (3, S, S), `crop_pct`, `interpolation`, `mean`, `std`.

        Raises:
            UsageError: an input that is not square or not RGB, or a filter other than the two.
        """
        size = config.get("input_size")
        if not isinstance(size, list | tuple) or len(size) != 3 or size[0] != 3:
            raise UsageError(f"An input of {size}: three numbers are needed, (3, side, side).")
        if size[1] != size[2]:
            raise UsageError(f"An input of {size[1]}x{size[2]} pixels: it must be square.")
        crop = config.get("crop_pct")
        return cls(
            input_size=int(size[1]),
            crop=float(crop) if isinstance(crop, int | float) and crop else _DEFAULT_CROP,
            interpolation=_filter(config.get("interpolation")),
            mean=_triple(config.get("mean"), _DEFAULT_MEAN),
            std=_triple(config.get("std"), _DEFAULT_STD),
        )

    def to_config(self) -> dict[str, object]:
        """The same under timm's names; `from_config` is the inverse."""
        return {
            "input_size": [3, self.input_size, self.input_size],
            "crop_pct": self.crop,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def at(self, size: int) -> "Preprocessing":
        """The same for another input side, in pixels."""
        return replace(self, input_size=size)

    def pixels(self, image: Image.Image) -> torch.Tensor:
        """The picture, (3, S, S) float32 in [0, 1]: short side to floor(S / crop), centre crop."""
        short = math.floor(self.input_size / self.crop)
        resized = _resize_short_side(image.convert("RGB"), short, self.interpolation)
        left = round((resized.width - self.input_size) / 2)
        top = round((resized.height - self.input_size) / 2)
        return _tensor(resized.crop((left, top, left + self.input_size, top + self.input_size)))

    def normalize(self, batch: torch.Tensor) -> torch.Tensor:
        """Pixels in [0, 1], (N, 3, S, S) or (3, S, S), as the network was trained to see them."""
        mean = torch.tensor(self.mean, dtype=batch.dtype, device=batch.device).view(3, 1, 1)
        std = torch.tensor(self.std, dtype=batch.dtype, device=batch.device).view(3, 1, 1)
        return (batch - mean) / std

    def transform(self, image: Image.Image) -> torch.Tensor:
        """The picture as the network's input, (3, S, S): `normalize(pixels(image))`."""
        return self.normalize(self.pixels(image))

    def random_view(self, image: Image.Image, generator: torch.Generator) -> torch.Tensor:
        """A random crop of 35 to 100 % of the area, perhaps mirrored: (3, S, S) pixels in [0, 1].

        Like `pixels` it is not normalized, so that donors with different statistics can be shown
        the same view. The generator decides everything: the same seed gives the same view.
        """
        picture = image.convert("RGB")
        view = picture.resize(
            (self.input_size, self.input_size),
            _FILTERS[self.interpolation],
            box=_random_box(picture.width, picture.height, generator),
        )
        if _uniform(0.0, 1.0, generator) < 0.5:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _tensor(view)


def _filter(name: object) -> Interpolation:
    if name == "bilinear":
        return "bilinear"
    if name in ("bicubic", None, ""):
        return "bicubic"
    raise UsageError(f"Interpolation '{name}' is not known. Use {' or '.join(_FILTERS)}.")


def _triple(value: object, default: Triple) -> Triple:
    if value is None:
        return default
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise UsageError(f"Channel statistics {value}: three numbers are needed, one per colour.")
    red, green, blue = (float(number) for number in value)
    return (red, green, blue)


def _resize_short_side(image: Image.Image, short: int, interpolation: str) -> Image.Image:
    if min(image.size) == short:
        return image
    if image.width <= image.height:
        size = (short, int(short * image.height / image.width))
    else:
        size = (int(short * image.width / image.height), short)
    return image.resize(size, _FILTERS[interpolation])


def _tensor(image: Image.Image) -> torch.Tensor:
    pixels = np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(torch.float32).div_(255)


def _random_box(
    width: int, height: int, generator: torch.Generator
) -> tuple[float, float, float, float]:
    for _ in range(_VIEW_ATTEMPTS):
        area = width * height * _uniform(*_VIEW_AREA, generator)
        ratio = math.exp(_uniform(math.log(_VIEW_RATIO[0]), math.log(_VIEW_RATIO[1]), generator))
        wide, high = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if wide <= width and high <= height:
            left = _uniform(0.0, width - wide, generator)
            top = _uniform(0.0, height - high, generator)
            return (left, top, min(left + wide, width), min(top + high, height))
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
