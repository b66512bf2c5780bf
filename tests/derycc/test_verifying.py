"""Verifying: a finished build is compared with its own torch network, and says where it differs."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from derycc import verify_file
from derycc.verify_file import read_verify_file, require_verified
from targets.errors import UsageError, VerificationError, WorkspaceError

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop


def verify(workshop: "Workshop", build: Path, *words: str):  # type: ignore[no-untyped-def]
    return workshop.derycc(
        "verify", build, "--home", workshop.home, "--data", workshop.plain, *words
    )


def disturb(build: Path, factor: float) -> None:
    """Multiply the classifier's weights in a build's ONNX file, with random signs."""
    path = build / "model.onnx"
    model = onnx.load(path)
    (tensor,) = [t for t in model.graph.initializer if len(t.dims) == 2 and 1000 in t.dims]
    values = numpy_helper.to_array(tensor)
    signs = np.random.default_rng(0).choice(np.float32([-1, 1]), values.shape)
    tensor.CopyFrom(numpy_helper.from_array(values * signs * np.float32(factor), tensor.name))
    onnx.save(model, path)
    restamp(build)


def restamp(build: Path) -> None:
    """Let the manifest name the files as they are now, so that their content is looked at."""
    manifest = json.loads((build / "manifest.json").read_text())
    manifest["files"] = {
        name: hashlib.sha256((build / name).read_bytes()).hexdigest()
        for name in manifest["files"]
        if (build / name).exists()
    }
    (build / "manifest.json").write_text(json.dumps(manifest))


def test_an_untouched_build_passes(workshop: "Workshop", tmp_path: Path) -> None:
    result = verify(workshop, workshop.copy("build", tmp_path))

    assert result.exit_code == 0, result.output
    first, note = result.stdout.splitlines()
    assert first.startswith("passed on reference: 10 photographs, least cosine ")
    assert first.endswith("top-1 agreement 100.0 %, run to run the same bits")
    assert note == "Note: Only 10 photographs are there, and 64 are wanted. Name more by --data."


def test_an_engine_with_other_weights_is_found(workshop: "Workshop", tmp_path: Path) -> None:
    build = workshop.copy("build", tmp_path)
    disturb(build, 1.0)

    result = verify(workshop, build)

    message = workshop.refusal(result, 5)
    assert message.startswith(
        "The engine of this build does not compute what its network computes on reference: the "
        "least cosine of the logits is "
    )
    assert message.endswith("Do not deploy it; build it again with this runtime.")
    assert result.stdout.startswith("FAILED on reference: 10 photographs, least cosine ")
    assert "It first differs in segment " in result.stdout


def test_an_engine_that_computes_no_numbers_is_found_and_said_in_json(
    workshop: "Workshop", tmp_path: Path
) -> None:
    build = workshop.copy("build", tmp_path)
    disturb(build, float("nan"))

    result = verify(workshop, build, "--json")

    workshop.refusal(result, 5)
    found = json.loads(result.stdout)
    (row,) = found["targets"]
    assert (found["passed"], row["passed"], row["cosine"]) == (False, False, None)
    assert row["diverges"]["error"] is None
    assert json.loads((build / "verify.json").read_text())["targets"] == [row]


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_damaged_torch_weights_are_said(
    workshop: "Workshop", tmp_path: Path, content: bytes | None
) -> None:
    build = workshop.copy("build", tmp_path)
    (build / "network.safetensors").unlink()
    if content is not None:
        (build / "network.safetensors").write_bytes(content)
    restamp(build)

    result = verify(workshop, build)

    message = workshop.refusal(result, 7)
    assert message.startswith(f"The weights of {build} do not fit the network that its manifest ")
    assert message.endswith("Build again, or restore network.safetensors.")


@pytest.mark.parametrize("command", ["verify", "bench"])
def test_a_file_that_is_not_the_one_that_was_built_is_named(
    workshop: "Workshop", tmp_path: Path, command: str
) -> None:
    build = workshop.copy("build", tmp_path)
    with (build / "model.onnx").open("ab") as file:
        file.write(b" ")

    result = workshop.derycc(command, build, "--home", tmp_path / "home")

    message = workshop.refusal(result, 2)
    assert message.startswith(f"{build / 'model.onnx'} is not the file that was built: its sha256")
    assert message.endswith("Build again, or restore it.")


def test_a_file_that_is_gone_is_named(workshop: "Workshop", tmp_path: Path) -> None:
    build = workshop.copy("build", tmp_path)
    (build / "model.onnx").unlink()

    result = verify(workshop, build)

    assert workshop.refusal(result, 2) == (
        f"{build / 'model.onnx'} cannot be read (No such file or directory). Build again, or "
        "restore it."
    )


def test_a_damaged_engine_is_said(workshop: "Workshop", tmp_path: Path) -> None:
    build = workshop.copy("build", tmp_path)
    (build / "model.onnx").write_bytes(b"no model")
    restamp(build)

    result = verify(workshop, build)

    workshop.refusal(result, 2)


def test_a_build_of_donors_that_are_not_at_hand_is_said(workshop: "Workshop") -> None:
    result = verify(workshop, workshop.build, "--zoo", "random:test_vit")

    assert workshop.refusal(result, 2).startswith("Unknown donor 'test_")


def test_one_changed_weight_is_named_on_the_console_and_in_verify_json(
    workshop: "Workshop", tmp_path: Path
) -> None:
    build = workshop.copy("build", tmp_path)
    model = onnx.load(build / "model.onnx")
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    values = numpy_helper.to_array(held[first.input[1]]).copy()
    values.flat[0] = 100.0
    held[first.input[1]].CopyFrom(numpy_helper.from_array(values, first.input[1]))
    onnx.save(model, build / "model.onnx")
    restamp(build)

    result = verify(workshop, build)

    workshop.refusal(result, 5)
    assert "It first differs in segment 1: " in result.stdout
    found = read_verify_file(build)
    assert found is not None and found.targets[0].diverges is not None
    assert found.targets[0].diverges.part == "segment 1"
    assert found.targets[0].failures[0].startswith("the least cosine of the logits is ")


def test_fewer_photographs_can_be_asked_for(workshop: "Workshop", tmp_path: Path) -> None:
    result = verify(workshop, workshop.copy("build", tmp_path), "--images", "3")

    assert result.stdout.startswith("passed on reference: 3 photographs")
    assert "Note:" not in result.stdout


def test_a_verification_is_written_and_lets_bench_go_on(
    workshop: "Workshop", tmp_path: Path
) -> None:
    build = workshop.copy("build", tmp_path)
    (build / "verify.json").unlink()
    refused = workshop.derycc("bench", build, "--home", tmp_path / "home")

    verified = verify(workshop, build)
    result = workshop.derycc("bench", build, "--home", tmp_path / "home")

    assert workshop.refusal(refused, 5) == (
        f"The engine of {build} was not compared with its torch network. Run derycc verify {build} "
        "first, or say --unverified to go on without it."
    )
    assert verified.exit_code == 0, verified.output
    assert result.exit_code == 0, result.output


def test_a_failed_verification_blocks_bench_unless_it_is_let_pass(
    workshop: "Workshop", tmp_path: Path
) -> None:
    build = workshop.copy("build", tmp_path)
    disturb(build, 1.0)
    verify(workshop, build)

    refused = workshop.derycc("bench", build, "--home", tmp_path / "home")
    result = workshop.derycc("bench", build, "--home", tmp_path / "home", "--unverified")

    assert "failed its verification on reference: the least cosine" in workshop.refusal(refused, 5)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"UNVERIFIED: The engine of {build} failed its verification")


def test_a_verification_of_another_model_is_none(workshop: "Workshop", tmp_path: Path) -> None:
    build = workshop.copy("build", tmp_path)
    disturb(build, 1.0)

    with pytest.raises(VerificationError, match=r"is about another model\.onnx"):
        require_verified(build)


def test_a_file_of_an_earlier_derycc_says_nothing(workshop: "Workshop", tmp_path: Path) -> None:
    build = workshop.copy("build", tmp_path)
    (build / "verify.json").write_text('{"images": 35, "passed": true}')

    assert read_verify_file(build) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"format": "derycc.verify/9"}', 'this version reads "format": "derycc.verify/1"'),
        ('{"format": "derycc.verify/1"}', "Or write it anew: derycc verify"),
        ('{"format": "derycc.verify/1", "model_sha256": 1}', "Or write it anew: derycc verify"),
    ],
)
def test_a_damaged_verification_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "verify.json").write_text(text)

    with pytest.raises(UsageError, match=said):
        read_verify_file(tmp_path)


def test_a_build_that_cannot_be_written_is_verified_and_that_is_said(
    workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise WorkspaceError("no") from OSError(30, "Read-only file system")

    monkeypatch.setattr(verify_file, "write_atomic", read_only)

    result = verify(workshop, workshop.build)

    assert result.exit_code == 0, result.output
    assert (
        f"Note: {workshop.build / 'verify.json'} was not written (Read-only file system): bench "
        "and export look at it."
    ) in result.stdout
