"""derycc.load: a build answers to photographs of any form, from any thread, without torch."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

import derycc
from derycc.manifest import Manifest
from derycc.runtime import Session
from targets.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.derycc.conftest import Workshop


@pytest.fixture(scope="module")
def session(workshop: "Workshop") -> "Iterator[Session]":
    with derycc.load(workshop.build) as session:
        yield session


@pytest.fixture
def photo(workshop: "Workshop") -> Path:
    return workshop.plain / "3.png"


def test_it_answers_with_labels_and_scores(
    session: Session, photo: Path, workshop: "Workshop"
) -> None:
    answer = session(photo)

    names = (workshop.build / "labels.txt").read_text().splitlines()
    everything = answer.top(len(names))
    assert sum(label.score for label in everything) == pytest.approx(1.0)
    assert [label.name for label in everything] == [names[label.index] for label in everything]
    assert [label.score for label in everything] == sorted(
        (label.score for label in everything), reverse=True
    )
    assert answer.best == everything[0] == answer.top(1)[0]
    assert answer.best.index == answer.logits.argmax()
    assert str(answer) == f"{answer.best.name} ({answer.best.score:.1%})"


def test_it_names_what_run_py_names(session: Session, photo: Path, workshop: "Workshop") -> None:
    command = [sys.executable, "-I", str(workshop.build / "run.py"), str(photo)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    found = [f"{label.score:6.1%}  {label.name}" for label in session(photo).top()]

    assert printed.splitlines() == found


def test_a_path_an_image_an_array_and_a_tensor_are_answered_alike(
    session: Session, photo: Path, papers: Manifest
) -> None:
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB"))
        expected = session(str(photo)).logits
        of_image = session(image).logits
    network = papers.network
    square = np.asarray(Image.fromarray(pixels).resize((session.input_size,) * 2), np.float32) / 255
    prepared = ((square - np.float32(network.mean)) / np.float32(network.std)).transpose(2, 0, 1)

    assert np.array_equal(of_image, expected)
    assert np.array_equal(session(pixels).logits, expected)
    of_array = session(np.ascontiguousarray(prepared)[None]).logits
    assert np.array_equal(session(torch.from_numpy(prepared)).logits, of_array)


def test_several_are_answered_in_their_order(session: Session, workshop: "Workshop") -> None:
    photos = sorted(workshop.plain.glob("*.png"))[:3]

    answers = session.many(photos)

    for photo, answer in zip(photos, answers, strict=True):
        assert np.array_equal(session(photo).logits, answer.logits)


def test_many_threads_get_the_answers_that_one_gets(session: Session, workshop: "Workshop") -> None:
    photos = sorted(workshop.plain.glob("*.png")) * 4
    expected = session.many(photos)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(session, photos))

    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.logits, other.logits)


def test_another_target_may_be_named(workshop: "Workshop", photo: Path) -> None:
    with derycc.load(str(workshop.build), "cpu:threads=1,spinning=off") as session:
        assert len(session(photo).top(3)) == 3


def test_what_is_no_photograph_is_refused(session: Session, workshop: "Workshop") -> None:
    with pytest.raises(DataError, match=r"^Cannot read .*run\.py as a photograph \("):
        session(workshop.build / "run.py")
    with pytest.raises(DataError, match=r"none\.png as a photograph"):
        session("none.png")


def test_a_damaged_picture_is_refused(session: Session, photo: Path, tmp_path: Path) -> None:
    content = photo.read_bytes()
    second = content.index(b"IDAT") + 4
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(content[:second] + bytes(64) + content[second + 64 :])

    with pytest.raises(DataError, match=r"damaged\.png as a photograph"):
        session(damaged)


@pytest.mark.parametrize(
    "array",
    [np.zeros((1, 3, 5, 5), np.float32), np.zeros((64, 64), np.uint8), np.zeros((3, 64, 64))],
)
def test_an_array_that_is_no_photograph_is_refused(session: Session, array: "np.ndarray") -> None:
    with pytest.raises(UsageError) as caught:
        session(array)

    assert str(caught.value).startswith(f"Cannot use an array of {array.dtype.name} {array.shape}")


def test_a_closed_session_says_so(workshop: "Workshop", photo: Path) -> None:
    session = derycc.load(workshop.build)
    session.close()

    with pytest.raises(UsageError, match="is closed"):
        session(photo)


def test_a_build_that_was_changed_is_not_loaded(workshop: "Workshop", tmp_path: Path) -> None:
    build = workshop.copy("build", tmp_path)
    model = build / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\x00")

    with pytest.raises(UsageError, match="is not the file that was built"):
        derycc.load(build)
    with pytest.raises(UsageError, match="is no finished build"):
        derycc.load(tmp_path)


def test_it_needs_neither_torch_nor_the_donors(workshop: "Workshop", photo: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'ortools', 'sqlalchemy'):\n"
        "    sys.modules[name] = None\n"
        "import derycc\n"
        f"with derycc.load({str(workshop.build)!r}, 'cpu:threads=1') as session:\n"
        f"    print(session({str(photo)!r}).best.index)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        env=workshop.environ(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    with derycc.load(workshop.build, "cpu:threads=1") as session:
        assert int(done.stdout) == session(photo).best.index


def test_a_session_says_whether_its_engine_was_verified(
    workshop: "Workshop", tmp_path: Path
) -> None:
    build = workshop.copy("build", tmp_path)
    (build / "verify.json").unlink()

    with derycc.load(workshop.build) as verified, derycc.load(build) as unverified:
        assert verified.unverified is None
        assert "was not compared with its torch network" in (unverified.unverified or "")
