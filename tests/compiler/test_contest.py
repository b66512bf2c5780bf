"""Contests: contestants are checked, measured in processes of their own, and resumed."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backends.model import ExportedModel, TensorSpec
from compiler.contest_worker import require_same, work
from compiler.contestants import WORKER, Contestant, program_file, write_contestant
from compiler.export import export
from compiler.torch_engines import save_program
from profilers.contest import Contest, Stage, contest, read_record
from profilers.jobs import Entry, Job, Reading
from profilers.protocol import Protocol
from targets.errors import Interrupted, VerificationError
from targets.target import get_target

QUICK = Protocol(rounds=3, unit_seconds=1e-4, warmup_seconds=0, min_units=3, max_seconds=0.01)
SHAPE = (2, 3, 8, 8)
X = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)
    return nn.Sequential(*layers).eval()


@pytest.fixture
def model(network: nn.Module) -> ExportedModel:
    return export(network, TensorSpec("x", SHAPE), "network")


@pytest.fixture
def expected(network: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(X)).numpy()


def entry(name: str, model: ExportedModel, expected: np.ndarray, folder: Path) -> Entry:
    runtime = "" if name == "build" else name
    return write_contestant(Contestant(name, 2, model, runtime, expected, 0.9999), X, folder)


def test_every_runtime_is_measured_and_computes_the_same(
    network: nn.Module, model: ExportedModel, expected: np.ndarray, tmp_path: Path
) -> None:
    names = ["build", "onnxruntime", "torch"]
    entries = [entry(name, model, expected, tmp_path) for name in names]
    save_program(network, SHAPE, program_file(tmp_path, "torch@2"))
    job = Job(str(tmp_path), get_target("cpu:threads=1"), QUICK, tuple(entries))
    lines = io.StringIO()

    work(job, lines)

    ready, *said = lines.getvalue().splitlines()
    readings = [json.loads(line) for line in said]
    assert ready == "ready"
    assert [reading["error"] for reading in readings] == [None] * 3
    assert all(len(reading["samples"]) >= 6 for reading in readings)


def test_openvino_is_measured_where_it_is_installed(
    model: ExportedModel, expected: np.ndarray, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    found = entry("openvino", model, expected, tmp_path)
    lines = io.StringIO()

    work(Job(str(tmp_path), get_target("cpu:threads=1"), QUICK, (found,)), lines)

    assert json.loads(lines.getvalue().splitlines()[1])["error"] is None


def test_a_contestant_that_computes_something_else_is_not_measured(
    model: ExportedModel, expected: np.ndarray, tmp_path: Path
) -> None:
    found = entry("onnxruntime", model, -expected, tmp_path)
    lines = io.StringIO()

    work(Job(str(tmp_path), get_target("cpu:threads=1"), QUICK, (found,)), lines)

    reading = json.loads(lines.getvalue().splitlines()[1])
    assert reading["samples"] == []
    assert reading["error"].startswith(
        "onnxruntime@2 computes something else than the build: cosine -1.0"
    )


@pytest.mark.parametrize("wrong", [np.full((2, 5), np.nan), np.zeros((2, 5)), np.ones((2, 4))])
def test_answers_that_are_no_numbers_or_too_few_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(VerificationError):
        require_same("peer", wrong, np.ones((2, 5)), 0.99)


def test_a_contest_that_is_stopped_goes_on_with_the_next_round(
    model: ExportedModel, expected: np.ndarray, tmp_path: Path
) -> None:
    names, record = ["build", "onnxruntime"], tmp_path / "bench" / "record.jsonl"
    entries = [entry(name, model, expected, tmp_path) for name in names]
    stage = Stage(tmp_path, get_target("cpu:threads=1"), QUICK, record, WORKER)
    seen: list[str] = []

    def stop(done: int, name: str) -> None:
        seen.append(name)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="interrupted after 1 of 3 rounds"):
        contest(stage, entries, stop)
    kept = read_record(record)
    with record.open("a") as file:
        file.write('{"build@2": {"key"')  # a line that was cut off
    told: list[tuple[int, str]] = []
    found = contest(stage, entries, lambda done, name: told.append((done, name)))

    assert len(kept) == 1
    assert read_record(record) == [dict(each) for each in found.rounds]
    assert [dict(each) for each in found.rounds[:1]] == kept
    assert len(found.rounds) == 3
    assert [done for done, _ in told] == [2, 3, 4, 5, 6]
    assert told[0] == (2, "")
    assert sorted(name for _, name in told[1:]) == sorted([*found.keys, *found.keys])
    assert found.failures == {}
    assert found.keys == ("build@2", "onnxruntime@2")
    assert found.measurement("build@2").median_us > 0
    assert found.ratio("build@2", "onnxruntime@2").value > 0


def test_of_a_contestant_that_failed_what_was_said_first_is_told() -> None:
    right = Reading("build@1", (1.0,))
    rounds = [
        {"build@1": right, "torch@1": right},
        {"build@1": right, "torch@1": Reading("torch@1", error="no memory")},
        {"build@1": right, "torch@1": Reading("torch@1", error="no torch")},
    ]

    found = Contest(tuple(rounds))

    assert found.failures == {"torch@1": "no memory"}
    assert found.keys == ("build@1",)
