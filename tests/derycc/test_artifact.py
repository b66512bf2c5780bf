"""Artifact: one folder, whole or not at all, whose manifest knows every file."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from safetensors import safe_open

from backends.model import ExportedModel
from derycc import artifact
from derycc.artifact import check_folder, write_artifact
from derycc.manifest import Manifest
from targets.errors import UsageError, WorkspaceError

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

FILES = {
    "assembly.json",
    "derycc.lock",
    "labels.txt",
    "model.onnx",
    "network.safetensors",
    "report.html",
    "run.py",
}


def test_all_files_are_there_and_their_hashes_are_right(
    workshop: "Workshop", papers: Manifest
) -> None:
    found = {path.name: path for path in workshop.build.iterdir()}

    assert set(papers.files) == FILES
    assert set(found) == {*FILES, "manifest.json", "verify.json"}
    for name, sha256 in papers.files.items():
        assert hashlib.sha256(found[name].read_bytes()).hexdigest() == sha256


def test_the_manifest_tells_predicted_beside_measured(papers: Manifest) -> None:
    latency = papers.latency

    assert latency.budget_us == 1200.0
    assert latency.within_budget
    assert latency.measured_us <= latency.measured_interval_us[1] <= 1200.0
    assert latency.predicted_us == pytest.approx(latency.measured_us, rel=0.2)
    assert papers.verified.passed
    assert papers.tried[0].within_budget
    assert (papers.data.calibration, papers.data.held_out, papers.data.labelled) == (5, 5, False)
    assert {donor.licence for donor in papers.donors} == {"none"}


def test_the_network_is_stitched_out_of_both_donors(papers: Manifest) -> None:
    segments = papers.network.segments

    assert {segment.model for segment in segments} == {donor.name for donor in papers.donors}
    assert len(papers.network.stitches) == len(segments) - 1 >= 1


def test_the_recipe_names_the_same_segments(workshop: "Workshop", papers: Manifest) -> None:
    assembly = json.loads((workshop.build / "assembly.json").read_text())
    recipe = assembly["recipe"]

    assert assembly["status"] == "optimal"
    assert recipe["format"] == "derycc.recipe/1"
    assert (recipe["input"], recipe["classes"]) == ([3, 64, 64], 1000)
    assert [part["model"] for part in recipe["segments"]] == [
        segment.model for segment in papers.network.segments
    ]
    assert len(recipe["stitches"]) == len(papers.network.stitches)


def test_the_network_and_its_weights_can_be_read(workshop: "Workshop") -> None:
    model = ExportedModel.load(workshop.build / "model.onnx")
    with safe_open(workshop.build / "network.safetensors", "pt") as weights:
        names = list(weights.keys())

    assert [spec.shape for spec in model.inputs] == [(1, 3, 64, 64)]
    assert [spec.shape for spec in model.outputs] == [(1, 1000)]
    assert any(name.startswith("stitches.0.") for name in names)


def test_labels_are_imagenets_where_there_are_a_thousand_classes(workshop: "Workshop") -> None:
    labels = (workshop.build / "labels.txt").read_text().splitlines()

    assert len(labels) == 1000
    assert labels[0].startswith("tench")


def test_other_classes_are_numbered() -> None:
    model = SimpleNamespace(outputs=(SimpleNamespace(shape=(1, 3)),))

    names = artifact._labels(SimpleNamespace(model=model))

    assert names == ("class 0", "class 1", "class 2")


def test_a_new_an_empty_and_a_build_folder_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "manifest.json").touch()

    for name in ("new", "empty", "build"):
        check_folder(tmp_path / name)


def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"File name too long\. Name another folder"):
        check_folder(tmp_path / ("n" * 300))


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")

    with pytest.raises(UsageError, match="exists and is no build of derycc"):
        check_folder(tmp_path / "out")


def test_a_build_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("old")
    monkeypatch.setattr(artifact, "_fill", full)

    with pytest.raises(WorkspaceError) as refused:
        write_artifact(out, None, None, None, None)  # type: ignore[arg-type]

    assert str(refused.value) == (
        f"Cannot write the build to {out}: No space left on device. Name another folder with --out."
    )
    assert (out / "manifest.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(WorkspaceError, match="Cannot write the build to"):
        write_artifact(tmp_path / "file" / "out", None, None, None, None)  # type: ignore[arg-type]


def test_folders_put_in_one_place_at_the_same_time_are_each_whole(tmp_path: Path) -> None:
    place = tmp_path / "build"

    def put(number: int) -> None:
        aside = tmp_path / f"aside-{number}"
        for turn in range(20):
            folder = aside / f"new-{turn}"
            folder.mkdir(parents=True)
            (folder / "file").write_text(str(number))
            old = aside / f"old-{turn}"
            old.mkdir()
            artifact.put_folder(folder, place, old)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(put, range(3)))

    assert [path.name for path in place.iterdir()] == ["file"]


def test_a_lock_names_the_answer_and_what_it_followed_from(workshop: "Workshop") -> None:
    lock = json.loads((workshop.build / "derycc.lock").read_text())
    answer = json.loads((workshop.build / "assembly.json").read_text())

    assert lock["answer"]["arcs"] == answer["arcs"]
    assert lock["answer"]["objective"] == answer["objective"]
    assert lock["cost_table"]
    assert lock["seed"] == 0
    assert {"derycc", "torch", "ortools"} <= set(lock["versions"])
