import os
import sys
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from backends.model import ExportedModel
from backends.ort import OrtBackend
from targets.errors import TargetUnavailableError, UsageError
from targets.target import Target, get_target

X = {"x": np.array([[1, 1]], np.float32)}


@pytest.fixture
def core() -> int:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot pin threads")
    return min(os.sched_getaffinity(0))


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> list[onnxruntime.SessionOptions]:
    """The options of every session that is made."""
    seen: list[onnxruntime.SessionOptions] = []
    session = onnxruntime.InferenceSession

    def spy(model: bytes, given: onnxruntime.SessionOptions, **more: object) -> object:
        seen.append(given)
        return session(model, given, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    return seen


def entry(options: onnxruntime.SessionOptions, key: str) -> str:
    return str(options.get_session_config_entry(key))


def test_every_setting_that_moves_a_latency_is_set(
    linear: ExportedModel, options: list[onnxruntime.SessionOptions]
) -> None:
    OrtBackend().compile(linear, get_target("cpu:threads=2,spinning=off")).close()

    (found,) = options
    assert found.intra_op_num_threads == 2
    assert found.inter_op_num_threads == 1
    assert found.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert found.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert entry(found, "session.intra_op.allow_spinning") == "0"
    assert entry(found, "session.inter_op.allow_spinning") == "0"
    assert entry(found, "session.set_denormal_as_zero") == "1"


def test_spinning_is_as_the_target_says(
    linear: ExportedModel, options: list[onnxruntime.SessionOptions]
) -> None:
    OrtBackend().compile(linear, get_target("cpu:threads=1,spinning=on")).close()

    assert entry(options[0], "session.intra_op.allow_spinning") == "1"


def test_a_pinned_engine_runs_on_its_processor_and_gives_the_thread_back(
    linear: ExportedModel, core: int
) -> None:
    before = os.sched_getaffinity(0)

    with OrtBackend().compile(linear, get_target(f"cpu:threads=1,affinity={core}")) as engine:
        outputs = engine.run(X)
        seconds = engine.time(X, 2)

    np.testing.assert_array_equal(outputs["y"], [[5, 0, 10]])
    assert seconds > 0
    assert os.sched_getaffinity(0) == before


def test_pool_threads_are_pinned_by_the_runtimes_count_from_one(
    linear: ExportedModel, options: list[onnxruntime.SessionOptions], core: int
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs two processors")

    target = get_target(f"cpu:threads=2,affinity={cores[0]}+{cores[1]}")
    with OrtBackend().compile(linear, target) as engine:
        engine.run(X)

    assert entry(options[0], "session.intra_op_thread_affinities") == str(cores[1] + 1)


def test_a_processor_that_the_process_may_not_use_is_refused(
    linear: ExportedModel, core: int
) -> None:
    with pytest.raises(TargetUnavailableError, match=r"pins threads to the processors \[99999\]"):
        OrtBackend().compile(linear, get_target("cpu:threads=1,affinity=99999"))


def test_a_system_that_cannot_pin_threads_says_so(
    linear: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)

    with pytest.raises(TargetUnavailableError, match=r"Leave the option affinity out"):
        OrtBackend().compile(linear, get_target("cpu:threads=1,affinity=0"))


def test_without_onnxruntime_it_says_what_to_install(
    linear: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    backend = OrtBackend()

    assert "Install it: pip install onnxruntime" in str(backend.unavailable())
    assert backend.versions() == {}
    with pytest.raises(TargetUnavailableError, match=r"The backend 'ort' cannot be used here"):
        backend.compile(linear, Target("cpu", "ort", 1))


def test_a_failure_while_running_names_the_model(build: Any) -> None:
    table = np.arange(4, dtype=np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=7),
        helper.make_node("Gather", ["t", "i"], ["y"]),
    ]
    proto = build(nodes, {"x": (1,)}, {"y": (1,)}, {"t": table})
    model = ExportedModel.from_bytes(proto.SerializeToString(), "gather")
    outside = {"x": np.array([9], np.float32)}

    with OrtBackend().compile(model, get_target("cpu:threads=1")) as engine:
        with pytest.raises(UsageError, match=r"ONNX Runtime cannot run the model 'gather'"):
            engine.run(outside)
        with pytest.raises(UsageError, match=r"ONNX Runtime cannot run the model 'gather'"):
            engine.time(outside, 1)
