"""derycc.lock: the same network again from the same donors and photographs, and nothing else."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compiler.folding import FOLDING
from compiler.network import Blueprint, Segment
from compiler.progress import Silent
from compiler.workbench import Workbench
from derycc.lock import Lock, is_lock, read_lock
from derycc.manifest import Manifest, read_manifest
from derycc.session import open_workbench
from targets.errors import DataError, UsageError, ZooError

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop


@pytest.fixture
def lock(workshop: "Workshop") -> Lock:
    return read_lock(workshop.build / "derycc.lock")


@pytest.fixture
def bench(workshop: "Workshop", lock: Lock) -> Iterator[Workbench]:
    """The workbench that the build was made on."""
    with open_workbench(replace(workshop.options(), views=lock.views), Silent()) as bench:
        yield bench


def rebuilt(workshop: "Workshop", tmp_path: Path, *words: str | Path) -> Any:
    """`derycc build --recipe BUILD/derycc.lock` in a home that has nothing built."""
    shared = ["--zoo", *workshop.words()[5:6], "--home", tmp_path / "home", "--quick"]
    named = ["--recipe", workshop.build / "derycc.lock", "--target", "reference"]
    return workshop.derycc("build", *named, *shared, "--out", tmp_path / "again", *words)


def test_the_network_of_a_lock_is_built_again_bit_for_bit(
    workshop: "Workshop", papers: Manifest, tmp_path: Path
) -> None:
    result = rebuilt(workshop, tmp_path, "--data", workshop.plain)

    assert result.exit_code == 0, result.output
    assert "The network is the lock's, bit for bit." in result.stdout
    again = read_manifest(tmp_path / "again")
    assert again.files["model.onnx"] == papers.files["model.onnx"]
    assert again.files["network.safetensors"] == papers.files["network.safetensors"]


def test_a_program_is_told_whether_the_same_network_came_out(
    workshop: "Workshop", lock: Lock, tmp_path: Path
) -> None:
    result = rebuilt(workshop, tmp_path, "--data", workshop.plain, "--json")

    content = json.loads(result.stdout)
    assert content["replayed"] == {
        "model_sha256": lock.model_sha256,
        "identical": True,
        "verdict": "The network is the lock's, bit for bit.",
    }
    assert read_manifest(tmp_path / "again").replayed is not None


def test_a_lock_tells_what_the_choice_followed_from(
    workshop: "Workshop", papers: Manifest, bench: Workbench
) -> None:
    content = json.loads((workshop.build / "derycc.lock").read_text())

    assert papers.beliefs is not None
    assert content["beliefs"] == json.loads(papers.to_json())["beliefs"]
    assert content["judged"] == {
        "networks": len(bench.judged_stitches.read()),
        "sha256": bench.judged_stitches.sha256,
    }


def test_other_photographs_are_refused(workshop: "Workshop", tmp_path: Path) -> None:
    said = workshop.refusal(rebuilt(workshop, tmp_path, "--data", workshop.labelled), 7)

    assert said.startswith("The stitches of the lock were fitted to other photographs")
    assert not (tmp_path / "again").exists()


def test_other_weights_are_refused(lock: Lock, bench: Workbench) -> None:
    name = bench.zoo.names[0]
    other = replace(lock, donors={**lock.donors, name: "0" * 64})

    lock.require(bench)
    with pytest.raises(ZooError, match=f"other weights of {name} .sha256 000000000000, here"):
        other.require(bench)
    with pytest.raises(DataError, match="other photographs"):
        replace(lock, images="else").require(bench)


def test_a_network_that_is_not_the_same_to_the_bit_is_said_to_be(
    lock: Lock, papers: Manifest, bench: Workbench
) -> None:
    segments = tuple(Segment(s.model, s.start, s.end) for s in papers.network.segments)
    candidate = bench.candidates.make(Blueprint(papers.network.input_size, segments))
    other = replace(lock, model_sha256="0" * 64)
    older = replace(other, versions={**lock.versions, "torch": "1.0"})

    same, differs, aged = (one.compared(candidate) for one in (lock, other, older))
    assert (same.identical, same.verdict) == (True, "The network is the lock's, bit for bit.")
    assert (differs.identical, differs.model_sha256) == (False, "0" * 64)
    assert differs.verdict.endswith("not bit for bit: this machine rounds otherwise.")
    assert "not bit for bit: it was built with torch 1.0, now " in aged.verdict
    assert "folded" not in aged.verdict


def test_a_graph_that_was_folded_otherwise_is_the_reason(
    workshop: "Workshop", lock: Lock, papers: Manifest, bench: Workbench, tmp_path: Path
) -> None:
    segments = tuple(Segment(s.model, s.start, s.end) for s in papers.network.segments)
    candidate = bench.candidates.make(Blueprint(papers.network.input_size, segments))
    content = json.loads((workshop.build / "derycc.lock").read_text())
    del content["folding"]
    (tmp_path / "old.lock").write_text(json.dumps({**content, "model_sha256": "0" * 64}))
    older = read_lock(tmp_path / "old.lock")
    other = replace(older, folding=1, versions={**lock.versions, "torch": "1.0"})

    assert lock.folding == FOLDING
    assert older.compared(candidate).verdict.endswith(
        f"bit for bit: its graph was folded by older rewrites, now by version {FOLDING}."
    )
    said = other.compared(candidate).verdict
    assert "it was built with torch 1.0, now " in said
    assert said.endswith(
        f", and its graph was folded by version 1 of the rewrites, now by version {FOLDING}."
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: {**c, "format": "derycc.lock/9"}, "has the format 'derycc.lock/9'"),
        (lambda c: {k: v for k, v in c.items() if k != "recipe"}, "recipe"),
        (lambda c: {**c, "views": "many"}, "views"),
    ],
)
def test_a_lock_that_cannot_be_used_is_refused(
    workshop: "Workshop", tmp_path: Path, spoil: Any, said: str
) -> None:
    content = json.loads((workshop.build / "derycc.lock").read_text())
    path = tmp_path / "x.lock"
    path.write_text(json.dumps(spoil(content)))

    with pytest.raises(UsageError) as caught:
        read_lock(path)

    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_only_a_file_of_that_kind_is_a_lock(workshop: "Workshop", tmp_path: Path) -> None:
    assert is_lock(str(workshop.build / "derycc.lock"))
    assert not is_lock(str(workshop.build / "assembly.json"))
    assert not is_lock(str(tmp_path / "none.lock"))
