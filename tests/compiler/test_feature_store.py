"""FeatureStore: what was written is there, and what was lost or damaged is known to be missing."""

from pathlib import Path

import numpy as np
import pytest

from compiler.feature_store import JOURNAL, Features, FeatureStore
from targets.errors import WorkspaceError

WIDTHS = [("stem", 3), ("blocks.0", 5)]


def store(folder: Path) -> FeatureStore:
    """Ten images in batches of four, four and two."""
    return FeatureStore(folder, WIDTHS, images=10, batch=4)


def features(batch: int) -> list[Features]:
    chance = np.random.default_rng(batch)
    count = 2 if batch == 2 else 4
    return [chance.normal(size=(count, width)).astype(np.float32) for _, width in WIDTHS]


def filled(folder: Path) -> FeatureStore:
    made = store(folder)
    for batch in range(3):
        made.write(batch, features(batch))
    return made


def test_features_are_plain_arrays_of_all_images(tmp_path: Path) -> None:
    made = filled(tmp_path)

    whole = np.load(tmp_path / "001.blocks.0.npy")

    assert whole.dtype == np.float32
    assert np.array_equal(whole, np.concatenate([features(b)[1] for b in range(3)]))
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "000.stem.npy",
        "001.blocks.0.npy",
        JOURNAL,
    ]
    assert made.missing() == ()


def test_rows_are_read_when_sliced(tmp_path: Path) -> None:
    stored = filled(tmp_path).features[1]
    whole = np.load(tmp_path / "001.blocks.0.npy")

    part = stored.part(3, 9)

    assert (stored.shape, part.shape, len(part)) == ((10, 5), (6, 5), 6)
    assert np.array_equal(stored[2:7], whole[2:7])
    assert np.array_equal(part[1:99], whole[4:9])
    assert np.array_equal(part.part(1, 3)[0:2], whole[4:6])
    assert part[5:2].shape == (0, 5)


def test_a_run_goes_on_at_the_batch_where_the_last_one_ended(tmp_path: Path) -> None:
    store(tmp_path).write(0, features(0))
    again = store(tmp_path)
    before = again.missing()

    again.write(2, features(2))

    assert before == (1, 2)
    assert store(tmp_path).missing() == (1,)
    assert np.array_equal(store(tmp_path).features[0][8:10], features(2)[0])


def test_damaged_numbers_are_missing(tmp_path: Path) -> None:
    made = filled(tmp_path)
    path = made.features[1].path
    content = bytearray(path.read_bytes())
    content[made.features[1].offset + 5 * 4 * 4] ^= 1  # the first number of batch 1

    path.write_bytes(content)

    assert store(tmp_path).missing() == (1,)


@pytest.mark.parametrize(
    "content", [b"", b"no array", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00v\x00{'descr" * 20]
)
def test_a_damaged_file_is_made_again(tmp_path: Path, content: bytes) -> None:
    filled(tmp_path).features[0].path.write_bytes(content)

    again = store(tmp_path)

    assert again.missing() == (0, 1, 2)
    assert again.features[0][0:10].tolist() == np.zeros((10, 3)).tolist()


def test_a_truncated_or_deleted_file_is_made_again(tmp_path: Path) -> None:
    made = filled(tmp_path)
    path = made.features[0].path
    path.write_bytes(path.read_bytes()[:-1])
    made.features[1].path.unlink()

    again = store(tmp_path)
    for batch in again.missing():
        again.write(batch, features(batch))

    assert store(tmp_path).missing() == ()
    assert np.array_equal(again.features[1][0:4], features(0)[1])


def test_a_file_of_another_shape_is_made_again(tmp_path: Path) -> None:
    filled(tmp_path)

    other = FeatureStore(tmp_path, [("stem", 4), ("blocks.0", 5)], images=10, batch=4)

    assert other.missing() == (0, 1, 2)
    assert other.features[0].shape == (10, 4)


@pytest.mark.parametrize("torn", ['\n{"batch": 2, "crc', "\n[]", "\n{}", "\n7", "\n\x00\xff"])
def test_a_line_that_cannot_be_read_is_none(tmp_path: Path, torn: str) -> None:
    made = store(tmp_path)
    made.write(0, features(0))
    with (tmp_path / JOURNAL).open("a") as file:
        file.write(torn)

    made.write(1, features(1))

    assert store(tmp_path).missing() == (2,)


def test_two_processes_may_write_the_same(tmp_path: Path) -> None:
    first, second = store(tmp_path), store(tmp_path)

    for batch in range(3):
        first.write(batch, features(batch))
        second.write(batch, features(batch))

    assert first.missing() == second.missing() == ()


def test_names_that_are_no_file_names_are_rewritten(tmp_path: Path) -> None:
    made = FeatureStore(tmp_path, [("a/b c", 1), ("../x", 1)], images=1, batch=1)

    assert [f.path.name for f in made.features] == ["000.a_b_c.npy", "001..._x.npy"]
    assert {f.path.parent for f in made.features} == {tmp_path}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(WorkspaceError, match=r"Cannot write .*Give a folder that can be written"):
        store(tmp_path / "file" / "x")


def test_files_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    made = store(tmp_path)
    made.features[0].path.unlink()
    no_journal = store(tmp_path / "other")
    (tmp_path / "other" / JOURNAL).mkdir()

    with pytest.raises(WorkspaceError, match=r"Cannot write .*000\.stem\.npy: No such file"):
        made.write(0, features(0))
    with pytest.raises(WorkspaceError, match=r"Cannot write .*batches\.jsonl: Is a directory"):
        no_journal.write(0, features(0))
