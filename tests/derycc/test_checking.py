"""Checking: a finished build is compared with its own torch network."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from derycc.checking import Benched
from derycc.manifest import Manifest
from profilers.measurement import Measurement
from targets.errors import BudgetMissedError

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


def measured(us: float, samples: int = 9) -> Measurement:
    return Measurement("key", "name", ((us * 1e-6,) * samples,), (0.0,), False)


def test_an_untouched_build_passes(workshop: "Workshop") -> None:
    result = verify(workshop, workshop.build)

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("passed: 5 photographs, least cosine ")


def test_an_engine_with_other_weights_is_found(workshop: "Workshop", tmp_path: Path) -> None:
    build = workshop.copy("build", tmp_path)
    disturb(build, 1.0)

    result = verify(workshop, build)

    assert workshop.refusal(result, 5) == (
        "The engine of this build does not compute what its network computes. Do not deploy it; "
        "build it again with this runtime."
    )
    assert result.stdout.startswith("FAILED: 5 photographs, least cosine ")


def test_an_engine_that_computes_no_numbers_is_found_and_said_in_json(
    workshop: "Workshop", tmp_path: Path
) -> None:
    build = workshop.copy("build", tmp_path)
    disturb(build, float("nan"))

    result = verify(workshop, build, "--json")

    workshop.refusal(result, 5)
    found = json.loads(result.stdout)
    assert (found["passed"], found["cosine"]) == (False, None)


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


def test_a_new_measurement_is_compared_with_the_budget(papers: Manifest) -> None:
    benched = Benched(papers, measured(1100.0), "reference")

    assert benched.lines()[0] == "budget    1.20 ms"
    assert benched.lines()[2] == (
        "measured  1.10 ms (1.10 ms to 1.10 ms), p90 1.10 ms, p99 1.10 ms"
    )
    benched.require()


def test_a_noisy_measurement_that_misses_the_budget_says_both(papers: Manifest) -> None:
    samples = ((1.0e-3,) * 5 + (2.0e-3,) * 5,)
    benched = Benched(papers, Measurement("key", "name", samples, (0.0,), True), "reference")

    assert benched.lines()[2].endswith(", noisy")
    with pytest.raises(BudgetMissedError, match=r"The build takes 2\.00 ms at the upper end"):
        benched.require()
