"""The zip of a build, unpacked where derycc is not, in an environment of three packages."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import derycc

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); import run; from PIL import Image; "
    "run.logits(Image.open(sys.argv[2])).tofile(sys.argv[3])"
)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has numpy, onnxruntime and Pillow, and what these need, alone."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, with_pip=True)
    made = folder / "bin" / "python"
    words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [made, *words, "numpy", "onnxruntime", "pillow"],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        cwd=folder,
    )
    if done.returncode:
        pytest.skip(f"the packages cannot be installed here: {done.stderr.strip()[-300:]}")
    return made


@pytest.mark.slow
def test_a_zip_needs_onnxruntime_numpy_and_pillow_alone(
    workshop: "Workshop", python: Path, tmp_path: Path
) -> None:
    photo = workshop.plain / "3.png"
    words = ("--format", "zip", "--out", tmp_path / "x.zip", "--home", workshop.home)
    exported = workshop.derycc("export", workshop.build, *words, "--data", workshop.plain)
    assert exported.exit_code == 0, exported.output
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        archive.extractall(tmp_path / "network")

    def run(interpreter: str | Path, *words: str | Path) -> str:
        command = [str(interpreter), "-I", *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path
        )
        return done.stdout

    printed = run(python, tmp_path / "network" / "run.py", photo)
    run(python, "-c", CODE, tmp_path / "network", photo, tmp_path / "logits")

    assert printed == run(sys.executable, workshop.build / "run.py", photo)
    found = np.fromfile(tmp_path / "logits", dtype=np.float32)
    with derycc.load(workshop.build) as session:
        expected = session(photo).logits
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert (
        "No module named 'derycc'"
        in subprocess.run(
            [python, "-I", "-c", "import derycc"], capture_output=True, text=True, check=False
        ).stderr
    )
