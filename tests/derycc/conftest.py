"""What the tests of the command line share: one tiny zoo, photographs of noise, one build."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from compiler.progress import Silent
from compiler.workbench import Workbench
from derycc.app import app
from derycc.manifest import Manifest, read_manifest
from derycc.session import Options, open_workbench

ZOO = "random:test_efficientnet,random:test_resnet"
STITCHED = "1.2ms"
"""On the reference clock the better donor takes 1.31 ms at 64 px and the faster one 0.97 ms."""

torch.set_num_threads(1)


@dataclass(frozen=True)
class Workshop:
    """A folder in which derycc is run as a user would; `build` is a finished build.

    Nothing in it may be changed by a test: `copy` gives a build and a home of one's own.
    """

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def build(self) -> Path:
        return self.root / "build"

    @property
    def plain(self) -> Path:
        """Ten photographs without labels."""
        return self.root / "plain"

    @property
    def labelled(self) -> Path:
        return self.root / "labelled"

    def copy(self, what: str, where: Path) -> Path:
        return Path(shutil.copytree(self.root / what, where / what))

    def options(self, home: Path | None = None) -> Options:
        return Options(home or self.home, "reference", ZOO, (64,), self.plain, None, 1, True)

    def words(self, home: Path | None = None) -> list[str]:
        """The options that every command on the zoo is given."""
        words = ["--home", str(home or self.home), "--target", "reference", "--zoo", ZOO]
        return [*words, "--size", "64", "--data", str(self.plain), "--quick"]

    def run(self, command: str, *words: str | Path, home: Path | None = None) -> Result:
        """Run a command with the shared options; later words win over them."""
        return self.derycc(command, *self.words(home), *words)

    def derycc(self, *words: str | Path) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    def process(self, *words: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
        """Run `python -m derycc` as a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "derycc", *map(str, words)],
            cwd=cwd,
            env=self.environ(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "DERYCC_HOME"}
        return {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), "HF_HUB_OFFLINE": "1"}

    def refusal(self, result: Result, code: int) -> str:
        """The one paragraph of a command that was refused with this exit code."""
        assert result.exit_code == code, result.output
        assert isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        said = [line for line in result.stderr.splitlines() if line.startswith("derycc: ")]
        assert said == result.stderr.splitlines()[-1:]
        return said[0].removeprefix("derycc: ")

    def content(self, folder: Path) -> dict[str, str]:
        """Path and hash of every file of a folder."""
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }


def draw(folder: Path, seed: int) -> None:
    folder.mkdir()
    random = np.random.default_rng(seed)
    for i in range(10):
        pixels = random.integers(0, 256, (9 + i % 3, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((80, 90)).save(folder / f"{i}.png")


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DERYCC_HOME", raising=False)
    monkeypatch.delenv("DERYCC_STORE", raising=False)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop(tmp_path_factory.mktemp("workshop"))
    draw(made.plain, 0)
    draw(made.labelled, 1)
    rows = "".join(f"{i}.png,{i % 5}\n" for i in range(10))
    (made.labelled / "labels.csv").write_text(f"file,index\n{rows}")
    result = made.run("build", "--latency", STITCHED, "--out", made.build)
    assert result.exit_code == 0, result.output
    (made.root / "build.txt").write_text(result.stdout)
    return made


@pytest.fixture(scope="session")
def papers(workshop: Workshop) -> Manifest:
    return read_manifest(workshop.build)


@pytest.fixture
def desk(workshop: Workshop) -> Iterator[Workbench]:
    """A workbench over the workshop's home, in which everything is measured."""
    with open_workbench(workshop.options(), Silent()) as bench:
        yield bench
