"""run.py: prepares a photograph exactly as derycc does, and names what it sees."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from compiler.preprocessing import Preprocessing
from derycc import run_template
from derycc.manifest import Manifest

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run(build: Path, *words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", str(build / "run.py"), *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_prints_the_five_best_labels_of_a_photograph(
    workshop: "Workshop", tmp_path: Path
) -> None:
    done = run(workshop.build, str(workshop.plain / "0.png"), cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    labels = (workshop.build / "labels.txt").read_text().splitlines()
    shares = [float(line.partition("%")[0]) for line in lines]
    assert len(lines) == 5
    assert shares == sorted(shares, reverse=True)
    assert all(line.partition("%")[2].strip() in labels for line in lines)


def test_without_a_photograph_it_says_how_to_use_it(workshop: "Workshop", tmp_path: Path) -> None:
    done = run(workshop.build, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (1, "usage: python run.py PHOTO\n")


def test_what_is_no_photograph_is_said(workshop: "Workshop", tmp_path: Path) -> None:
    done = run(workshop.build, str(workshop.build / "run.py"), cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot read {workshop.build / 'run.py'} as a photograph: ")


def test_in_this_process_it_prints_the_same(
    workshop: "Workshop",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = str(workshop.plain / "0.png")
    monkeypatch.setattr(run_template, "FOLDER", workshop.build)
    monkeypatch.setattr(sys, "argv", ["run.py", photo])

    run_template.main()

    assert capsys.readouterr().out == run(workshop.build, photo, cwd=tmp_path).stdout
    monkeypatch.setattr(sys, "argv", ["run.py"])
    with pytest.raises(SystemExit, match=r"usage: python run\.py PHOTO"):
        run_template.main()


def test_it_prepares_with_what_the_manifest_says(workshop: "Workshop", papers: Manifest) -> None:
    network = json.loads((workshop.build / "manifest.json").read_text())["network"]
    wants = Preprocessing(
        papers.network.input_size,
        papers.network.crop,
        papers.network.interpolation,  # type: ignore[arg-type]
        papers.network.mean,
        papers.network.std,
    )
    path = workshop.plain / "1.png"

    with Image.open(path) as image:
        prepared = run_template.prepare(image, network)
        expected = wants.transform(image.convert("RGB")).numpy()[None]
    assert prepared.dtype == np.float32
    assert np.abs(prepared - expected).max() < 1e-6


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(80, 90), (91, 57), (64, 64), (300, 201), (40, 33)])
@pytest.mark.parametrize(("size", "crop"), [(64, 0.875), (63, 0.9), (96, 1.0)])
def test_it_prepares_photographs_of_any_shape_as_derycc_does(
    interpolation: str, shape: tuple[int, int], size: int, crop: float
) -> None:
    random = np.random.default_rng(sum(shape))
    image = Image.fromarray(random.integers(0, 256, (*shape, 3), dtype=np.uint8))
    wants = Preprocessing(size, crop, interpolation, MEAN, STD)  # type: ignore[arg-type]

    prepared = run_template.prepare(image, asdict(wants))

    expected = wants.transform(image).numpy()[None]
    assert prepared.shape == (1, 3, size, size)
    assert np.abs(prepared - expected).max() < 1e-6
