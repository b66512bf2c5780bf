import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from backends.model import ExportedModel
from backends.reference import ReferenceBackend
from profilers.jobs import JOB, READING, READY, Entry, Job
from profilers.protocol import Protocol
from profilers.sentinel import sentinel_model
from profilers.worker import work
from targets.target import get_target

ROOT = Path(__file__).parents[2]


def job(folder: Path, models: Mapping[str, ExportedModel], protocol: Protocol) -> Job:
    for key, model in models.items():
        model.save(folder / f"{key}.onnx")
        arrays = [np.zeros(spec.shape, spec.dtype) for spec in model.inputs]
        np.savez(folder / f"{key}.npz", *arrays)
    entries = tuple(Entry(key, f"{key}.onnx", f"{key}.npz") for key in models)
    return Job(str(folder), get_target("reference"), protocol, entries)


def test_every_model_is_said_in_order_and_an_error_does_not_stop_the_round(
    tmp_path: Path,
    models: tuple[ExportedModel, ...],
    unloadable: ExportedModel,
    protocol: Protocol,
) -> None:
    lines = io.StringIO()

    work(job(tmp_path, {"one": models[0], "bad": unloadable, "two": models[1]}, protocol), lines)

    ready, *rest = lines.getvalue().splitlines()
    one, bad, two = (READING.validate_json(line) for line in rest)
    assert ready == READY
    assert [one.key, bad.key, two.key] == ["one", "bad", "two"]
    assert one.error is None and two.error is None
    assert len(one.samples) == 6
    assert one.load_seconds > 0
    assert "cannot load the model 'bad'" in str(bad.error)
    assert bad.samples == ()


def test_a_file_that_is_gone_is_an_error_of_its_model(tmp_path: Path, protocol: Protocol) -> None:
    lines = io.StringIO()

    work(
        Job(str(tmp_path), get_target("reference"), protocol, (Entry("a", "a.onnx", "a.npz"),)),
        lines,
    )

    assert "Cannot read the model file" in lines.getvalue()


def test_the_child_process_speaks_on_a_pipe_of_its_own(
    tmp_path: Path, models: tuple[ExportedModel, ...], protocol: Protocol
) -> None:
    text = JOB.dump_json(job(tmp_path, {"one": models[0]}, protocol))

    found = subprocess.run(
        [sys.executable, "-m", "profilers.worker"],
        input=text,
        capture_output=True,
        cwd=ROOT,
        check=True,
        timeout=100,
    )

    ready, line = found.stdout.decode().splitlines()
    assert ready == READY
    assert json.loads(line)["key"] == "one"
    assert found.stderr == b""


def test_the_child_process_ends_when_its_parent_is_gone(
    tmp_path: Path, models: tuple[ExportedModel, ...], protocol: Protocol
) -> None:
    text = JOB.dump_json(job(tmp_path, {"one": models[0]}, protocol))
    child = subprocess.Popen(
        [sys.executable, "-m", "profilers.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdin and child.stdout and child.stderr
    child.stdout.close()

    child.stdin.write(text)
    child.stdin.close()

    assert child.wait(timeout=100) == 1
    assert child.stderr.read() == b""
    child.stderr.close()


def test_the_sentinel_runs_on_every_backend_and_is_always_the_same() -> None:
    sentinel = sentinel_model()

    with ReferenceBackend().compile(sentinel, get_target("reference")) as engine:
        outputs = engine.run({"x": np.ones((1, 32, 28, 28), np.float32)})

    assert outputs["y"].shape == (1, 32, 28, 28)
    assert np.isfinite(outputs["y"]).all()
    assert sentinel_model() is sentinel
