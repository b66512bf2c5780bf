"""Similarity of a zoo: the pairs' own values, made once, kept, and bounded in memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from compiler.cache import Cache
from compiler.donors import Donors
from compiler.feature_store import FeatureStore
from compiler.features import DonorFeatures, ZooFeatures, zoo_features
from compiler.images import ImageSet
from compiler.progress import Silent
from compiler.similarity import linear_cka, linear_regression, rbf_cka
from compiler.similarity_table import ModelNodes
from compiler.zoo_similarity import Method, similarity_table, zoo_similarity
from targets.errors import TargetUnavailableError, UnknownNameError, UsageError

SIZES = {"test_efficientnet": 32, "test_resnet": 32}


class Recorder:
    def __init__(self) -> None:
        self.told: list[str | int] = []

    def start(self, phase: str, total: int | None) -> None:
        self.told.append(f"{phase}: {total}")

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        self.told.append(done)

    def finish(self, summary: str = "") -> None:
        self.told.append(summary)


def zoo(folder: Path, images: int = 30) -> ZooFeatures:
    """Two donors of one and two nodes, whose boundaries see the same hidden features."""
    chance = np.random.default_rng(0)
    hidden = chance.normal(size=(images, 4))
    donors = []
    for name, widths in (("a", (3, 5)), ("b", (2, 4, 6))):
        named = [(f"n{i}", width) for i, width in enumerate(widths)]
        store = FeatureStore(folder / name, named, images, images)
        mixed = [
            hidden @ chance.normal(size=(4, w)) + chance.normal(size=(images, w)) for w in widths
        ]
        store.write(0, [rows.astype(np.float32) for rows in mixed])
        nodes = ModelNodes(name, tuple(n for n, _ in named[1:]), (1,) * (len(widths) - 1))
        donors.append(DonorFeatures(nodes, store.features))
    return ZooFeatures(tuple(donors))


@pytest.mark.parametrize("measure", ["linear_cka", "rbf_cka", "linear_regression"])
@pytest.mark.parametrize("unbiased", [False, True])
def test_a_table_has_the_measure_of_every_pair(
    measure: str, unbiased: bool, tmp_path: Path
) -> None:
    features = zoo(tmp_path)

    table = similarity_table(features, Silent(), Method(measure, unbiased))

    parts = [stored[0:30] for stored in features.boundaries]
    for i, x in enumerate(parts):
        for j, y in enumerate(parts):
            expected = {
                "linear_cka": lambda x=x, y=y: linear_cka(x, y, unbiased),
                "rbf_cka": lambda x=x, y=y: rbf_cka(x, y, unbiased=unbiased),
                "linear_regression": lambda x=x, y=y: (
                    (linear_regression(x, y) + linear_regression(y, x)) / 2
                ),
            }[measure]()
            assert table.values[i, j] == pytest.approx(expected, abs=1e-9)
    assert np.array_equal(table.values, table.values.T)
    assert table.values.diagonal().tolist() == [1.0] * 5
    assert (table.measure, [model.name for model in table.models]) == (measure, ["a", "b"])


def test_many_images_are_compared_in_equal_batches_none_left_out(tmp_path: Path) -> None:
    features, told = zoo(tmp_path), Recorder()

    table = similarity_table(features, told, Method(unbiased=False, batch=14, average="cka"))

    x, y = (features.boundaries[i][0:30] for i in (0, 4))
    thirds = [linear_cka(x[p], y[p]) for p in (slice(0, 10), slice(10, 20), slice(20, 30))]
    assert table.values[0, 4] == pytest.approx(sum(thirds) / 3, abs=1e-9)
    assert told.told == [
        "comparing 5 boundaries: 30",
        10,
        20,
        30,
        "linear_cka of all pairs of 5 boundaries",
    ]


def test_regression_tells_its_progress_by_boundary(tmp_path: Path) -> None:
    told = Recorder()

    similarity_table(zoo(tmp_path), told, Method("linear_regression"))

    assert told.told[:3] == ["regressing 5 boundaries on each other: 5", 1, 2]


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    peaks = []
    for images in (400, 4000):
        features = zoo(tmp_path / str(images), images)
        tracemalloc.start()
        similarity_table(features, Silent(), Method(batch=100))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.2 * peaks[0]


def test_a_zoo_is_compared_on_what_its_donors_make_of_the_images(
    tiny_donors: Donors, pictures: ImageSet, tmp_path: Path
) -> None:
    cache = Cache(tmp_path)

    table = zoo_similarity(tiny_donors, pictures, cache, Silent(), sizes=SIZES)

    features = zoo_features(tiny_donors, pictures, cache, Silent(), SIZES)
    x, y = (features.boundaries[i][0:10] for i in (1, 9))
    assert table.between(0, 1)[1, 3] == pytest.approx(linear_cka(x, y, unbiased=True), abs=1e-9)
    assert table.models == tuple(donor.nodes for donor in features.donors)
    assert table.values.shape == (11, 11)


def test_a_table_that_is_there_is_read_without_a_donor(
    tiny_donors: Donors, pictures: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, cache = Recorder(), Cache(tmp_path)
    made = zoo_similarity(tiny_donors, pictures, cache, Silent(), sizes=SIZES)
    monkeypatch.delattr(Donors, "module")
    monkeypatch.delattr(Donors, "dissection")

    again = zoo_similarity(Donors(tiny_donors.zoo), pictures, cache, told, sizes=SIZES)

    assert np.array_equal(again.values, made.values)
    assert (again.models, told.told) == (made.models, [])


def test_every_question_has_a_table_of_its_own(
    tiny_donors: Donors, pictures: ImageSet, tmp_path: Path
) -> None:
    cache = Cache(tmp_path)

    tables = [
        zoo_similarity(tiny_donors, images, cache, Silent(), measure, unbiased, sizes=SIZES).values
        for images in (pictures, pictures.subset(range(7)))
        for measure in ("linear_cka", "rbf_cka")
        for unbiased in (False, True)
    ]

    assert len({table.tobytes() for table in tables}) == 8


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_damaged_table_is_made_again(
    tiny_donors: Donors, pictures: ImageSet, tmp_path: Path, content: bytes
) -> None:
    cache = Cache(tmp_path)
    made = zoo_similarity(tiny_donors, pictures, cache, Silent(), sizes=SIZES)
    (path,) = cache.path("similarity", "x").parent.iterdir()
    path.write_bytes(content)

    again = zoo_similarity(tiny_donors, pictures, cache, Silent(), sizes=SIZES)

    assert np.array_equal(again.values, made.values)
    assert np.array_equal(np.load(path), made.values)


def test_a_table_of_another_shape_is_made_again(
    tiny_donors: Donors, pictures: ImageSet, tmp_path: Path
) -> None:
    cache = Cache(tmp_path)
    made = zoo_similarity(tiny_donors, pictures, cache, Silent(), sizes=SIZES)
    (path,) = cache.path("similarity", "x").parent.iterdir()
    np.save(path, np.eye(3))

    again = zoo_similarity(tiny_donors, pictures, cache, Silent(), sizes=SIZES)

    assert np.array_equal(again.values, made.values)


def test_what_cannot_be_compared_is_refused_before_a_donor_runs(
    tiny_donors: Donors, pictures: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Donors, "dissection")
    cache = Cache(tmp_path)

    with pytest.raises(UsageError, match=r"unbiased linear_cka of 3 images: it needs at least 4"):
        zoo_similarity(tiny_donors, pictures.subset(range(3)), cache, Silent())
    with pytest.raises(UnknownNameError, match="Did you mean 'linear_cka'"):
        zoo_similarity(tiny_donors, pictures, cache, Silent(), "linear_cca")
    with pytest.raises(TargetUnavailableError, match="cannot run on 'cuda:99'"):
        zoo_similarity(tiny_donors, pictures, cache, Silent(), device="cuda:99")


def test_regression_on_few_images_is_refused_before_a_donor_runs(
    tiny_donors: Donors, pictures: ImageSet, tmp_path: Path
) -> None:
    told = Recorder()

    with pytest.raises(UsageError, match="10 images explains everything by the 192 channels of"):
        zoo_similarity(
            tiny_donors, pictures, Cache(tmp_path), told, "linear_regression", sizes=SIZES
        )

    assert told.told == [
        "cutting test_efficientnet.random at 32 px: None",
        "5 nodes in test_efficientnet.random",
        "cutting test_resnet.random at 32 px: None",
        "4 nodes in test_resnet.random",
    ]


def test_batches_too_small_for_the_estimate_are_refused() -> None:
    assert Method(unbiased=False, batch=4).parts(9) == [(0, 3), (3, 6), (6, 9)]
    with pytest.raises(UsageError, match=r"unbiased linear_cka in batches of 7: .* at least 8 im"):
        Method(batch=7)
