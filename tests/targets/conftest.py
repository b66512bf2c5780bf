"""What tests of targets share: a folder of the user's own targets."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of targets, empty."""
    made = tmp_path / "targets"
    made.mkdir()
    monkeypatch.setenv("DERYCC_TARGETS", str(made))
    return made
