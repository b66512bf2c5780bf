"""Pictures are prepared as timm prepares them, and random views are reproducible."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from compiler.preprocessing import Preprocessing
from targets.errors import UsageError


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.mark.parametrize("size", [(400, 300), (301, 457), (256, 256), (90, 61), (224, 800)])
@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(224, 0.875, "bilinear"),
        Preprocessing(260, 0.89, "bicubic", (0.498,) * 3, (0.502,) * 3),
        Preprocessing(33, 1.0, "bicubic"),
    ],
)
def test_transform_equals_timms_to_the_last_bit(
    preprocessing: Preprocessing, size: tuple[int, int]
) -> None:
    side = preprocessing.input_size
    timms = create_transform(
        (3, side, side),
        interpolation=preprocessing.interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
        crop_pct=preprocessing.crop,
    )
    image = photograph(*size)

    assert torch.equal(preprocessing.transform(image), timms(image))


def test_pixels_lie_between_zero_and_one_and_are_float32() -> None:
    pixels = Preprocessing(32).pixels(photograph(50, 40))

    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.float32
    assert float(pixels.min()) >= 0 and float(pixels.max()) <= 1


def test_a_grey_picture_gets_three_equal_channels() -> None:
    pixels = Preprocessing(16).pixels(photograph(20, 20).convert("L"))

    assert torch.equal(pixels[0], pixels[1]) and torch.equal(pixels[0], pixels[2])


def test_normalize_takes_one_picture_or_a_batch() -> None:
    preprocessing = Preprocessing(8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    batch = torch.full((2, 3, 8, 8), 0.6)

    normalized = preprocessing.normalize(batch)

    assert torch.allclose(normalized[0, :, 0, 0], torch.tensor([1.0, 1.6, 0.15]))
    assert torch.equal(preprocessing.normalize(batch[0]), normalized[0])


def test_at_changes_the_size_alone() -> None:
    preprocessing = Preprocessing(224, 0.9, "bilinear")

    assert preprocessing.at(160) == Preprocessing(160, 0.9, "bilinear")


def test_the_same_seed_gives_the_same_random_view_and_another_seed_another() -> None:
    preprocessing, image = Preprocessing(24), photograph(60, 50)

    first, again, other = (
        preprocessing.random_view(image, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )

    assert first.shape == (3, 24, 24)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_random_view_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()

    Preprocessing(8).random_view(photograph(20, 20), torch.Generator().manual_seed(0))

    assert torch.equal(torch.random.get_rng_state(), before)


def test_random_views_are_sometimes_mirrored() -> None:
    ramp = Image.linear_gradient("L").rotate(90)  # brightness falls or rises from left to right
    generator = torch.Generator().manual_seed(0)

    views = [Preprocessing(8).random_view(ramp, generator)[0, 0] for _ in range(20)]

    assert {bool(row[0] > row[-1]) for row in views} == {True, False}


def test_a_random_view_of_a_very_long_picture_is_its_middle() -> None:
    strip = Image.new("RGB", (1000, 4))
    strip.paste((255, 255, 255), (495, 0, 505, 4))

    view = Preprocessing(4).random_view(strip, torch.Generator().manual_seed(0))

    assert float(view.mean()) == 1.0


def test_timms_configuration_is_read_and_written_back() -> None:
    config: dict[str, object] = {
        "input_size": [3, 224, 224],
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }

    preprocessing = Preprocessing.from_config(config)

    assert preprocessing == Preprocessing(224, 0.875, "bilinear", (0.5,) * 3, (0.5,) * 3)
    assert preprocessing.to_config() == config


def test_what_a_configuration_leaves_out_has_imagenets_defaults() -> None:
    preprocessing = Preprocessing.from_config({"input_size": (3, 64, 64), "crop_pct": None})

    assert preprocessing == Preprocessing(
        64, 0.875, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "three numbers are needed, (3, side, side)"),
        ({"input_size": [1, 28, 28]}, "three numbers are needed, (3, side, side)"),
        ({"input_size": [3, 224, 192]}, "224x192 pixels: it must be square"),
        ({"input_size": [3, 8, 8], "interpolation": "lanczos"}, "Use bilinear or bicubic"),
        ({"input_size": [3, 8, 8], "mean": [0.5]}, "three numbers are needed, one per colour"),
    ],
)
def test_a_configuration_for_no_square_rgb_picture_is_refused(
    config: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Preprocessing.from_config(config)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_size": 0}, "An input of 0 pixels a side: use 1 or more."),
        ({"input_size": 8, "crop": 0}, "A crop of 0: use a share above 0 and up to 1"),
        ({"input_size": 8, "crop": 1.5}, "A crop of 1.5"),
        ({"input_size": 8, "interpolation": "nearest"}, "Interpolation 'nearest' is not known."),
        ({"input_size": 8, "std": (1.0, 0.0, 1.0)}, "the deviations above 0"),
    ],
)
def test_values_no_picture_can_be_prepared_with_are_refused(
    arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Preprocessing(**arguments)  # type: ignore[arg-type]  # on purpose

    assert words in str(caught.value)
