"""Builds the wheel, installs it where nothing of the repository is visible, and uses it there."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from derycc import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("backends", "compiler", "derycc", "profilers", "targets")
SOURCES = (*PACKAGES, "pyproject.toml", "setup.py", "README.md", "LICENSE")
SHADED = ("backends", "compiler", "profilers", "targets")


@dataclass(frozen=True, slots=True)
class Installation:
    """A virtual environment that holds the wheel, and an empty folder to work in."""

    folder: Path
    site: Path
    cwd: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the environment without the caller's Python settings."""
        executable = str(self.folder / "bin" / command[0])
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "DERYCC_"))}
        return subprocess.run(
            [executable, *command[1:]],
            cwd=self.cwd,
            env=keep,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: building leaves folders beside the sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(out), str(copy))
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel in an environment of its own that borrows the third parties of this one.

    The folder of third parties is named in a .pth file. Python does not read the .pth files of
    such a folder in turn, so an editable install of the repository stays invisible.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    places = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", places))
    third_parties = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "third_parties.pth").write_text("\n".join(sorted(third_parties)) + "\n")
    python = str(folder / "bin" / "python")
    pip("--python", python, "install", "--no-deps", "--no-index", "--no-compile", str(wheel))
    return Installation(folder, site, tmp_path_factory.mktemp("empty"))


def test_the_wheel_puts_derycc_alone_into_site_packages(installation: Installation) -> None:
    added = sorted(path.name for path in installation.site.iterdir())

    assert added == ["derycc", f"derycc-{__version__}.dist-info", "third_parties.pth"]


def test_no_own_package_can_be_imported_by_its_root_name(installation: Installation) -> None:
    script = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"

    done = installation.run("python", "-c", script, *SHADED)

    assert done.stdout.strip() == "[]", done.stderr


def test_the_wheel_says_that_it_provides_derycc_alone(installation: Installation) -> None:
    script = (
        "import importlib.metadata as m;"
        "print([n for n, d in m.packages_distributions().items() if 'derycc' in d])"
    )

    done = installation.run("python", "-c", script)

    assert done.stdout.strip() == "['derycc']", done.stderr


def test_every_module_and_data_file_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    wanted = {
        (path.relative_to(ROOT) if package == "derycc" else "derycc" / path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }

    assert {path.as_posix() for path in wanted} - names == set()


def test_the_console_command_says_its_version(installation: Installation) -> None:
    done = installation.run("derycc", "--version")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"derycc {__version__}"


def test_doctor_runs_where_the_wheel_is_installed(installation: Installation) -> None:
    done = installation.run("derycc", "doctor", "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["derycc"] == __version__
    assert {backend["name"] for backend in found["backends"]} >= {"ort", "reference"}


def test_doctor_leaves_nothing_behind(installation: Installation) -> None:
    installation.run("derycc", "doctor")

    assert list(installation.cwd.iterdir()) == []


def test_an_old_cost_store_can_be_read_where_the_wheel_is_installed(
    installation: Installation, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "tests" / "profilers" / "store_1.sqlite", tmp_path / "costs.sqlite")

    done = installation.run("derycc", "store", "list", "--json", "--home", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert [each["rounds"] for each in json.loads(done.stdout)["environments"]] == [7, 1]


IMPORT_ALL = """
import importlib, pkgutil, derycc
OPTIONAL = {"pycuda", "tensorrt", "asyncssh", "ray", "psycopg"}
for module in pkgutil.walk_packages(derycc.__path__, "derycc."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] not in OPTIONAL:
                print(module.name, "needs", error.name)
"""


def test_every_module_of_the_wheel_can_be_imported(installation: Installation) -> None:
    done = installation.run("python", "-c", IMPORT_ALL)

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_importing_derycc_imports_no_third_party(installation: Installation) -> None:
    script = (
        "import sys; before = set(sys.modules); import derycc; "
        "print(sorted({n.split('.')[0] for n in set(sys.modules) - before}"
        " - set(sys.stdlib_module_names)))"
    )

    done = installation.run("python", "-c", script)

    assert done.stdout.strip() == "['derycc']", done.stderr
