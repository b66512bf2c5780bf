"""Views: the same pixels at every pass, the centre first, and no picture twice in a batch."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from compiler.images import ImageSet, load_images
from compiler.preprocessing import Preprocessing
from compiler.views import BATCH, Views


def test_the_first_view_is_the_centre_crop_without_normalization(pictures: ImageSet) -> None:
    preprocessing = Preprocessing(32, mean=(0.1, 0.2, 0.3))

    (batch,) = Views(pictures, preprocessing)

    assert batch.shape == (10, 3, 32, 32)
    assert torch.equal(batch[3], preprocessing.pixels(pictures.load(3)))


def test_further_views_are_seeded_crops_of_the_same_pictures(pictures: ImageSet) -> None:
    preprocessing = Preprocessing(16)
    views = Views(pictures, preprocessing, per_image=3, seed=1)

    first, again = torch.cat(list(views)), torch.cat(list(views))

    other = torch.cat(list(Views(pictures, preprocessing, per_image=3, seed=2)))
    assert len(views) == 30 == len(first)
    assert torch.equal(first, again)
    assert torch.equal(first[:10], other[:10])
    assert not any(torch.equal(first[i], other[i]) for i in range(10, 30))
    assert len({view.numpy().tobytes() for view in first}) == 30
    assert (float(first.min()) >= 0.0, float(first.max()) <= 1.0) == (True, True)


def test_batches_are_full_but_for_the_last(tmp_path: Path) -> None:
    colours = np.arange(BATCH + 3, dtype=np.uint8)
    for i, colour in enumerate(colours):
        Image.new("RGB", (8, 8), (int(colour),) * 3).save(tmp_path / f"{i:02}.png")

    batches = list(Views(load_images(tmp_path), Preprocessing(8), per_image=2))

    assert [len(batch) for batch in batches] == [BATCH, BATCH, 6]
    shades = (torch.cat(batches)[:, 0, 0, 0] * 255).round().int()
    assert shades.tolist() == [*range(BATCH + 3), *range(BATCH + 3)]


def test_an_even_number_of_full_batches_has_no_empty_one(tmp_path: Path) -> None:
    for i in range(BATCH):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i:02}.png")

    assert [len(b) for b in Views(load_images(tmp_path), Preprocessing(8))] == [BATCH]
