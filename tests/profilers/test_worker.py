import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from backends.backend import Array, Engine
from backends.model import ExportedModel
from backends.reference import ReferenceBackend
from profilers.jobs import JOB, READING, READY, Entry, Job
from profilers.protocol import Protocol
from profilers.sentinel import sentinel_model
from profilers.worker import measure, work
from targets.target import get_target

ROOT = Path(__file__).parents[2]
NOTHING: dict[str, Array] = {}


class Scripted(Engine):
    """An engine whose inferences take the times that it is given, the last one for ever."""

    def __init__(self, seconds: list[float]) -> None:
        super().__init__(ExportedModel(b"", (), (), "scripted"), 0.1)
        self._seconds = seconds
        self.calls: list[int] = []

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {}

    def _time(self, inputs: Mapping[str, Array], repeats: int) -> float:
        self.calls.append(repeats)
        now = self._seconds[0] if len(self._seconds) == 1 else self._seconds.pop(0)
        return now * repeats

    def _close(self) -> None:
        pass


def job(folder: Path, models: Mapping[str, ExportedModel], protocol: Protocol) -> Job:
    for key, model in models.items():
        model.save(folder / f"{key}.onnx")
        arrays = [np.zeros(spec.shape, spec.dtype) for spec in model.inputs]
        np.savez(folder / f"{key}.npz", *arrays)
    entries = tuple(Entry(key, f"{key}.onnx", f"{key}.npz") for key in models)
    return Job(str(folder), "reference", protocol, entries)


def test_a_unit_is_grown_until_it_lasts_long_enough() -> None:
    engine = Scripted([1e-5])

    samples, capped = measure(engine, NOTHING, Protocol(unit_seconds=0.005))

    assert engine.calls[0] == 1
    assert 500 <= engine.calls[-1] <= 600
    assert samples == pytest.approx((1e-5,) * 8)
    assert not capped


def test_a_slow_model_is_one_inference_a_unit() -> None:
    engine = Scripted([0.02])

    samples, capped = measure(engine, NOTHING, Protocol())

    assert set(engine.calls) == {1}
    assert len(samples) == 8
    assert not capped


def test_warming_up_takes_the_time_that_the_protocol_says() -> None:
    engine = Scripted([1 / 64])

    samples, _ = measure(engine, NOTHING, Protocol(warmup_seconds=8 / 64))

    assert len(engine.calls) - len(samples) == 8


def test_a_model_that_never_settles_is_capped() -> None:
    engine = Scripted([0.01] * 5 + [0.01, 0.02] * 100 + [0.01])

    samples, capped = measure(engine, NOTHING, Protocol(max_seconds=0.25))

    assert capped
    assert sum(samples) >= 0.25
    assert len(samples) < 25


def test_a_model_that_is_slower_than_the_whole_time_is_still_measured_three_times() -> None:
    samples, capped = measure(Scripted([1.0]), NOTHING, Protocol(max_seconds=0.25))

    assert samples == (1.0, 1.0, 1.0)
    assert not capped


def test_measuring_stops_as_soon_as_the_interval_is_narrow() -> None:
    engine = Scripted([0.01] * 5 + [0.01, 0.02] * 2 + [0.01])

    samples, capped = measure(engine, NOTHING, Protocol(max_seconds=10))

    assert not capped
    assert 8 < len(samples) < 30


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
    assert len(one.samples) == 3
    assert one.load_seconds > 0
    assert "cannot load the model 'bad'" in str(bad.error)
    assert bad.samples == ()


def test_a_file_that_is_gone_is_an_error_of_its_model(tmp_path: Path, protocol: Protocol) -> None:
    lines = io.StringIO()

    work(Job(str(tmp_path), "reference", protocol, (Entry("a", "a.onnx", "a.npz"),)), lines)

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
