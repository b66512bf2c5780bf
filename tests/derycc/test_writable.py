"""Writable: what keeps something from being put at a path is told by the nearest folder."""

import os
from pathlib import Path

import pytest

from derycc.writable import obstacle


def test_missing_folders_are_no_obstacle(tmp_path: Path) -> None:
    assert obstacle(tmp_path / "a" / "b" / "c") is None
    assert obstacle(tmp_path / "a") is None


def test_a_file_on_the_way_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert obstacle(tmp_path / "file" / "a" / "b") == f"{tmp_path / 'file'} is not a folder"


def test_a_folder_that_is_read_only_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def denied(path: Path, _: int) -> bool:
        asked.append(path)
        return False

    monkeypatch.setattr(os, "access", denied)

    assert obstacle(tmp_path / "a" / "b") == f"{tmp_path} cannot be written"
    assert asked == [tmp_path]


def test_a_name_that_no_folder_can_have_is(tmp_path: Path) -> None:
    assert obstacle(tmp_path / ("n" * 300) / "b") == f"{tmp_path / ('n' * 300)}: File name too long"
