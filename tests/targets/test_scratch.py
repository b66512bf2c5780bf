import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from targets.errors import WorkspaceError
from targets.scratch import scratch_folder

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from targets.scratch import scratch_folder

with scratch_folder() as folder:
    (folder / "model").write_text("large")
    print(folder, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def hold(temporary: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """A process that has a folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().decode().strip())


def test_a_folder_is_there_and_then_gone(temporary: Path) -> None:
    with scratch_folder() as folder:
        (folder / "file").write_text("content")
        assert folder.parent == temporary
        assert folder.name.startswith(f"derycc-{os.getpid()}-")

    assert list(temporary.iterdir()) == []


def test_a_folder_goes_where_its_user_fails(temporary: Path) -> None:
    with pytest.raises(OSError, match="mine"), scratch_folder():
        raise OSError("mine")

    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(temporary: Path) -> None:
    process, left = hold(temporary)
    process.kill()
    process.communicate(timeout=60)
    before = left.exists()

    with scratch_folder():
        pass

    assert (before, left.exists()) == (True, False)


def test_what_a_living_process_uses_stays_even_if_its_number_means_nothing_here(
    temporary: Path,
) -> None:
    process, used = hold(temporary)
    elsewhere = used.rename(temporary / "derycc-999999999-elsewhere")

    with scratch_folder():
        kept = elsewhere.exists()
    process.kill()
    process.communicate(timeout=60)

    assert kept


@pytest.mark.parametrize("name", ["derycc-999999999-", "derycc-999999999-x", "derycc-x", "other"])
def test_what_derycc_did_not_make_stays(temporary: Path, name: str) -> None:
    (temporary / name).mkdir()

    with scratch_folder():
        pass

    assert (temporary / name).exists()


def test_a_link_to_a_folder_is_not_followed(
    temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    theirs = tmp_path_factory.mktemp("theirs")
    (theirs / ".in-use").touch()
    (temporary / "derycc-999999999-link").symlink_to(theirs)

    with scratch_folder():
        pass

    assert (theirs / ".in-use").exists()


def test_a_process_of_another_user_is_alive(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(process: int, signal: int) -> None:
        raise PermissionError

    left = temporary / "derycc-5-abc"
    left.mkdir()
    (left / ".in-use").touch()
    monkeypatch.setattr(os, "kill", refuse)

    with scratch_folder():
        pass

    assert left.exists()


def test_where_no_folder_can_be_made_the_error_says_what_to_do(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "absent"))

    with (
        pytest.raises(WorkspaceError, match=r"temporary folder: No such file.* set TMPDIR"),
        scratch_folder(),
    ):
        pass
