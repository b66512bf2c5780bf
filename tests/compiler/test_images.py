"""Image sets: every layout, honest labels, broken files named, splits that can be repeated."""

import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from compiler.images import ImageSet, load_images
from targets.errors import DataError


def paint(path: Path, colour: tuple[int, int, int] = (200, 30, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), colour).save(path)
    return path


def table(folder: Path, text: str) -> None:
    (folder / "labels.csv").write_text(text)


def pack(folder: Path, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, prefix + path.relative_to(folder).as_posix())
    return archive


def message(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_images(path)
    return str(caught.value)


def test_a_table_gives_labels_in_its_own_order(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    paint(tmp_path / "sub" / "b.jpg")
    table(tmp_path, "file,index,wnid\nsub/b.jpg,217,n02102040\na.png,0,n01440764\n")

    images = load_images(tmp_path)

    assert images.paths == ("sub/b.jpg", "a.png")
    assert images.labels == (217, 0)
    assert len(images) == 2


@pytest.mark.parametrize(
    "text",
    [
        "file,imagenet_idx,wnid\na.png,217,n02102040\n",
        "file,label\na.png,217\n",
        "file,wnid\na.png,n02102040\n",
        "\ufefffile,index\na.png,217\n",
        "file,index,wnid\na.png,217,\n",
    ],
)
def test_tables_may_name_the_class_by_number_or_wnid(tmp_path: Path, text: str) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")

    assert load_images(tmp_path).labels == (217,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.png,217\n", "Its first line must be file,index or file,index,wnid."),
        ("", "Its first line must be file,index or file,index,wnid."),
        ("file,index\na.png,dog\n", "the label 'dog'. Use a class number from 0 on."),
        ("file,index\na.png,-1\n", "the label '-1'. Use a class number from 0 on."),
        ("file,index\na.png,\n", "no usable label. Fill in the column 'index'"),
        ("file,wnid\na.png,n00000000\n", "no usable label."),
        ("file,index,wnid\na.png,3,n02102040\n", "class number 3, but n02102040 is class 217"),
        ("file,index\na.png,3\nb.png,4\n", "1 of the 2 files that 'labels.csv' lists are not in"),
        ("file,index\n../a.png,3\n", "'../a.png'. Put them there or take their lines out."),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path: Path, text: str, words: str) -> None:
    paint(tmp_path / "a.png")
    table(tmp_path, text)

    assert words in message(tmp_path)


def test_class_folders_give_labels_by_number_or_wnid(tmp_path: Path) -> None:
    paint(tmp_path / "img" / "7" / "a.png")
    paint(tmp_path / "img" / "n02102040" / "b.png")

    images = load_images(tmp_path)

    assert dict(zip(images.paths, images.labels or (), strict=True)) == {
        "img/7/a.png": 7,
        "img/n02102040/b.png": 217,
    }


def test_a_picture_outside_of_the_class_folders_is_named(tmp_path: Path) -> None:
    paint(tmp_path / "7" / "a.png")
    paint(tmp_path / "stray.png")

    assert "1 of 2 pictures lie outside of them: 'stray.png'" in message(tmp_path)


def test_folders_that_are_no_classes_give_no_labels(tmp_path: Path) -> None:
    paint(tmp_path / "holiday" / "a.png")
    paint(tmp_path / "2019" / "b.png")

    assert load_images(tmp_path).labels is None


def test_a_plain_folder_is_sorted_and_ignores_other_and_hidden_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", ".thumbs/c.png", "__MACOSX/d.png"):
        paint(tmp_path / name)
    (tmp_path / "readme.txt").write_text("not a picture")

    images = load_images(str(tmp_path))

    assert images.paths == ("a.JPG", "b.png")
    assert images.labels is None


def test_a_zip_reads_like_its_folder_and_has_the_same_digest(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    paint(folder / "a.png", (1, 2, 3))
    paint(folder / "b.png", (4, 5, 6))
    table(folder, "file,index\na.png,5\nb.png,6\n")

    unpacked, packed = load_images(folder), load_images(pack(folder, tmp_path / "set.zip"))

    assert packed.labels == unpacked.labels == (5, 6)
    assert packed.digest == unpacked.digest
    assert packed.load(1).getpixel((0, 0)) == (4, 5, 6)


def test_a_zip_may_hold_everything_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    paint(folder / "a.png")
    table(folder, "file,index\na.png,5\n")

    images = load_images(pack(folder, tmp_path / "set.zip", prefix="top/"))

    assert images.paths == ("top/a.png",)
    assert images.labels == (5,)


def test_a_zip_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    folder, archive = tmp_path / "set", tmp_path / "set.zip"
    paint(folder / "a.png")
    load_images(pack(folder, archive))
    archive.unlink()
    paint(folder / "b.png")

    assert len(load_images(pack(folder, archive))) == 2


def test_the_digest_tells_labels_and_contents_apart(tmp_path: Path) -> None:
    for name, colour, label in (("x", (0, 0, 0), 1), ("y", (9, 9, 9), 1), ("z", (0, 0, 0), 2)):
        paint(tmp_path / name / "a.png", colour)
        table(tmp_path / name, f"file,index\na.png,{label}\n")

    digests = {load_images(tmp_path / name).digest for name in "xyz"}

    assert len(digests) == 3


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new("RGB", (5, 5), (255, 0, 0)).convert(mode).save(tmp_path / f"a.{suffix}")

    assert load_images(tmp_path).load(0).mode == "RGB"


def test_a_palette_with_transparency_becomes_rgb_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (5, 5))
    image.save(tmp_path / "a.png", transparency=bytes([0, 255]))

    assert load_images(tmp_path).load(0).mode == "RGB"


def test_a_missing_path_says_what_to_give(tmp_path: Path) -> None:
    assert "There is no" in message(tmp_path / "nowhere")
    assert "labels.csv (columns file,index[,wnid])" in message(tmp_path / "nowhere")


def test_an_empty_folder_says_what_to_give(tmp_path: Path) -> None:
    assert message(tmp_path).startswith(f"No pictures in '{tmp_path}'. Give a folder or .zip")


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")

    assert "as a zip: File is not a zip file" in message(tmp_path / "a.txt")


def test_broken_pictures_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    paint(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    for number in range(4):
        (tmp_path / f"text{number}.jpg").write_text("no picture")

    text = message(tmp_path)

    assert f"5 of 6 pictures in '{tmp_path}' cannot be read" in text
    assert "'empty.png', 'text0.jpg', 'text1.jpg' and 2 more" in text


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_picture_is_found_when_the_set_is_opened(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-2000])

    assert f"1 of 1 pictures in '{tmp_path}' cannot be read: 'a.{suffix}'" in message(tmp_path)


def test_a_picture_that_went_away_is_named_when_it_is_loaded(tmp_path: Path) -> None:
    path = paint(tmp_path / "a.png")
    images = load_images(tmp_path)
    path.unlink()

    with pytest.raises(DataError, match=r"'a\.png'"):
        images.load(0)


def test_a_subset_keeps_labels_beside_their_pictures() -> None:
    images = ImageSet(Path("somewhere"), ("a", "b", "c"), (1, 2, 3))

    subset = images.subset([2, 0])

    assert (subset.paths, subset.labels) == (("c", "a"), (3, 1))


def test_a_split_takes_the_same_share_of_every_class() -> None:
    labels = tuple([3] * 10 + [5] * 20)
    images = ImageSet(Path("somewhere"), tuple(f"{i:02d}" for i in range(30)), labels)

    first, rest = images.split(0.7, seed=1)

    assert Counter(first.labels) == {3: 7, 5: 14}
    assert Counter(rest.labels) == {3: 3, 5: 6}


def test_a_split_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    images = ImageSet(Path("somewhere"), tuple(f"{i:02d}" for i in range(40)))

    assert images.split(0.5, 1) == images.split(0.5, 1)
    assert images.split(0.5, 1) != images.split(0.5, 2)


def test_one_picture_per_class_still_splits_at_the_fraction() -> None:
    images = ImageSet(Path("somewhere"), tuple(f"{i:03d}" for i in range(100)), tuple(range(100)))

    first, rest = images.split(0.25, seed=0)

    assert (len(first), len(rest)) == (25, 75)


@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=40),
    fraction=st.floats(0.1, 0.9),
    seed=st.integers(0, 5),
)
def test_the_sides_of_a_split_are_disjoint_complete_and_of_the_asked_size(
    labels: list[int], fraction: float, seed: int
) -> None:
    images = ImageSet(Path("x"), tuple(f"{i:03d}" for i in range(len(labels))), tuple(labels))
    count = round(fraction * len(labels))
    if not 0 < count < len(labels):
        return

    first, rest = images.split(fraction, seed)

    assert len(first) == count
    assert sorted(first.paths + rest.paths) == list(images.paths)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, 0.01, float("nan")])
def test_a_split_with_an_empty_side_is_refused(fraction: float) -> None:
    images = ImageSet(Path("somewhere"), ("a", "b"))

    with pytest.raises(DataError, match="both sides need at least one"):
        images.split(fraction)


def test_a_zip_is_read_in_place_picture_by_picture(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for number in range(8):
        paint(folder / f"{number}.png", (number, 0, 0))
    images = load_images(pack(folder, tmp_path / "set.zip"))
    shutil.rmtree(folder)

    reds = [images.load(i).getpixel((0, 0)) for i in range(8)]

    assert reds == [(number, 0, 0) for number in range(8)]
