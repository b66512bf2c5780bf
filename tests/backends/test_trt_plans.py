"""Plans of TensorRT: built once, and again where they are no longer what was built."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from backends.model import ExportedModel
from backends.trt import TrtBackend, close_processes
from backends.trt_plans import FOLDER
from backends.trt_process import Refusal, TrtProcess
from targets.errors import WorkspaceError
from targets.target import Target
from tests.backends.trt_cases import image, one

pytestmark = pytest.mark.usefixtures("trt_stand_in")


def test_a_plan_is_built_once(
    plans: Path, residual: ExportedModel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TrtBackend()
    backend.compile(residual, target).close()
    (first,) = plans.glob("*.plan")
    written = first.stat().st_mtime_ns

    backend.compile(residual, target).close()

    assert [path.stat().st_mtime_ns for path in plans.glob("*.plan")] == [written]
    beside = first.with_suffix(".json").read_text()
    assert '"format": "derycc.plan/1"' in beside
    assert json.loads(beside)["precisions"] == {"fp32": 1.0}
    assert [path.name for path in plans.glob("*.onnx")] == []
    assert [path.read_bytes() for path in plans.glob("*.cache")] == [b"timed;"]

    close_processes()
    monkeypatch.setenv("STAND_IN_VERSION", "11.4.0.106")
    backend.compile(residual, target).close()
    assert len(list(plans.glob("*.plan"))) == len(list(plans.glob("*.cache"))) == 2


@pytest.mark.parametrize("damage", ["cut off", "no note", "another plan"])
def test_a_plan_that_was_damaged_is_built_again(
    damage: str, plans: Path, residual: ExportedModel, target: Target
) -> None:
    backend, x = TrtBackend(), image(residual)
    with backend.compile(residual, target) as engine:
        expected = engine.run(x)["y"]
    (plan,) = plans.glob("*.plan")
    whole = plan.read_bytes()
    if damage == "cut off":
        plan.write_bytes(whole[:40])
    elif damage == "no note":
        plan.with_suffix(".json").unlink()
    else:
        content = b'{"version": "8.5.3"}\nx'
        plan.write_bytes(content)
        note = json.loads(plan.with_suffix(".json").read_text())
        note["sha256"] = hashlib.sha256(content).hexdigest()
        plan.with_suffix(".json").write_text(json.dumps(note))

    with backend.compile(residual, target) as engine:
        np.testing.assert_array_equal(engine.run(x)["y"], expected)

    assert plan.read_bytes() == whole


def test_a_folder_of_plans_that_cannot_be_written_is_told(
    tmp_path: Path, residual: ExportedModel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER, str(tmp_path / "file" / "plans"))

    with pytest.raises(WorkspaceError, match=rf"Cannot write .*plans: .* in {FOLDER}"):
        TrtBackend().compile(residual, target)


def test_timings_of_another_gpu_are_begun_anew(
    plans: Path, residual: ExportedModel, target: Target
) -> None:
    backend = TrtBackend()
    backend.compile(residual, target).close()
    (cache,) = plans.glob("*.cache")
    cache.write_bytes(b"other gpu;")

    backend.compile(one("Relu"), target).close()

    assert cache.read_bytes() == b"timed;"


def test_a_plan_of_another_version_is_refused(process: TrtProcess, tmp_path: Path) -> None:
    (tmp_path / "old.plan").write_bytes(b'{"version": "8.5.3"}\nx')
    (tmp_path / "no.plan").write_bytes(b"ftrt\0junk")

    for name, said in (("old", "of version 8.5.3"), ("no", "Serialization")):
        with pytest.raises(Refusal, match=said) as refusal:
            process.ask("load", plan=str(tmp_path / f"{name}.plan"))
        assert refusal.value.kind == "plan"
