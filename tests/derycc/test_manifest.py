"""Manifest: what is written is read back; what is damaged or of another format is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from derycc.manifest import FORMAT, NAME, Manifest, read_manifest
from targets.errors import UsageError


def changed(folder: Path, papers: Manifest, **fields: Any) -> Path:
    content = json.loads(papers.to_json())
    (folder / NAME).write_text(json.dumps({**content, **fields}))
    return folder


def test_a_manifest_is_read_back_equal(papers: Manifest, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(papers.to_json())

    assert read_manifest(tmp_path) == papers
    assert papers.format == FORMAT


def test_another_format_is_refused_whatever_its_fields_are(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"format": "derycc.manifest/9", "derycc": "9.0", "new": 1}')

    with pytest.raises(UsageError) as refused:
        read_manifest(tmp_path)

    assert str(refused.value) == (
        f"{tmp_path / NAME} has the format 'derycc.manifest/9'; this derycc reads "
        "'derycc.manifest/1', 'derycc.manifest/2' and 'derycc.manifest/3'. Use the derycc that "
        "wrote it (version 9.0)."
    )


def test_a_manifest_of_the_first_format_is_read(papers: Manifest, tmp_path: Path) -> None:
    network = json.loads(papers.to_json())["network"]
    first = {name: network[name] for name in network if name not in ("recipe", "untrained")}
    changed(tmp_path, papers, format="derycc.manifest/1", network=first)

    assert read_manifest(tmp_path) == replace(papers, format="derycc.manifest/1")


def test_a_manifest_of_the_second_format_knew_no_constraints(
    papers: Manifest, tmp_path: Path
) -> None:
    new = ("constraints", "demands", "session", "beliefs")
    content = {k: v for k, v in json.loads(papers.to_json()).items() if k not in new}
    (tmp_path / NAME).write_text(json.dumps({**content, "format": "derycc.manifest/2"}))

    found = read_manifest(tmp_path)

    assert (found.constraints, found.demands, found.session, found.beliefs) == (
        (),
        None,
        None,
        None,
    )
    assert found.latency == papers.latency


def test_a_damaged_field_is_named(papers: Manifest, tmp_path: Path) -> None:
    network = {**json.loads(papers.to_json())["network"], "input_size": "large"}
    changed(tmp_path, papers, network=network)

    with pytest.raises(UsageError, match=r"is damaged: network\.input_size: Input should be"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 1}', b"{}"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)

    with pytest.raises(UsageError, match=r"is damaged: .* Build again, or restore the file\.$"):
        read_manifest(tmp_path)
