"""TensorRT's worker on stand-ins of three versions: the same calls do, and faults are answers."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from backends import trt, trt_process
from backends.backend import Array
from backends.model import ExportedModel
from backends.reference import ReferenceBackend
from backends.trt import TrtBackend, TrtEngine, close_processes
from backends.trt_plans import FOLDER
from backends.trt_process import PYTHON, Lost, Refusal, TrtProcess
from compiler.verification import gate_on
from profilers.environment import Environment
from targets.errors import TargetUnavailableError, UsageError, WorkspaceError
from targets.target import Target, get_target

VERSIONS = ("8.6.0", "10.16.1.11", "11.4.0.106")
SETTINGS = {
    "workspace_bytes": 2**20,
    "level": 3,
    "timing_iterations": 1,
    "aux_streams": 0,
    "tf32": False,
    "version_compatible": False,
    "refit": False,
    "capability": None,
    "fp16": False,
    "int8": False,
}

pytestmark = pytest.mark.usefixtures("trt_stand_in")


@pytest.fixture
def target() -> Target:
    return get_target("cpu:threads=1,backend=trt")


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path / "plans"))
    return tmp_path / "plans"


@pytest.fixture
def process(trt_stand_in: Path) -> Iterator[TrtProcess]:
    process = TrtProcess(str(trt_stand_in))
    yield process
    process.close()


def image(model: ExportedModel) -> dict[str, Array]:
    random = np.random.default_rng(1)
    return {s.name: random.standard_normal(s.shape).astype(np.float32) for s in model.inputs}


def one(operator: str, name: str = "one") -> ExportedModel:
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], name="block/op")],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [
            helper.make_tensor_value_info(
                "y", TensorProto.FLOAT, [] if operator == "Det" else [2, 2]
            )
        ],
    )
    proto: ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    return ExportedModel.from_bytes(proto.SerializeToString(), name)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_computes_what_the_reference_does(
    version: str, residual: ExportedModel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_VERSION", version)
    x = image(residual)

    with TrtBackend().compile(residual, target) as engine:
        found, seconds = engine.run(x)["y"], engine.time(x, 5)
    with ReferenceBackend().compile(residual, target) as reference:
        expected = reference.run(x)["y"]

    assert TrtBackend().versions()["tensorrt"] == version
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert 0 < seconds < 60


@pytest.mark.parametrize("version", VERSIONS)
def test_a_worker_tells_layers_times_and_what_the_inspector_says(
    version: str, residual: ExportedModel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_VERSION", version)
    x = image(residual)

    with TrtBackend().compile(residual, target) as engine:
        assert isinstance(engine, TrtEngine)
        layers = engine.layers()
        times = engine.layer_times(x, 3)
        latencies = engine.latencies(x, 4)

    assert [layer.kind for layer in layers] == [
        *("Conv", "BatchNormalization", "HardSwish", "Conv", "Add")
    ]
    assert engine.facts["layers"] == 5
    assert list(map(len, times.values())) == [3] * 5
    assert len(latencies) == 4 and min(latencies) > 0


@pytest.mark.parametrize("mode", ["hot", "rotate", "cold"])
def test_caches_are_as_the_mode_says(mode: str, process: TrtProcess, tmp_path: Path) -> None:
    model = one("Relu")
    (tmp_path / "m.onnx").write_bytes(model.onnx)
    plan = str(tmp_path / "m.plan")
    process.ask("build", onnx=str(tmp_path / "m.onnx"), plan=plan, cache=None, settings=SETTINGS)
    engine = process.ask("load", plan=plan)["engine"]
    np.savez(tmp_path / "x.npz", np.ones((2, 2), np.float32))
    given = {"file": str(tmp_path / "x.npz"), "names": ["x"]}

    told = process.ask("time", engine=engine, inputs=given, repeats=7, mode=mode)

    assert told["seconds"] > 0
    assert told["graph"] is True
    assert told["seen"]["sm_mhz"] == [1980, 1980]
    assert told["sets"] == (64 if mode == "rotate" else 1)
    assert told["exceeds_l2"] is False  # so small a tensor fits however often it is there


@pytest.mark.parametrize("driver", ["none", "refuse"])
def test_where_no_graph_can_be_captured_times_are_labelled(
    driver: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_DRIVER", driver)
    model = one("Relu")

    with TrtBackend().compile(model, target) as engine:
        assert isinstance(engine, TrtEngine)
        assert engine.time(image(model), 5) > 0
        assert engine.seen["graph"] is False


def test_other_processes_on_the_gpu_are_seen(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_OTHERS", "4711,4712")
    model = one("Relu")

    with TrtBackend().compile(model, target) as engine:
        assert isinstance(engine, TrtEngine)
        engine.time(image(model), 5)
        assert engine.seen["seen"]["processes"] == [4711, 4712]


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


def test_profiling_layers_leaves_the_engine_as_it_was(
    residual: ExportedModel, target: Target
) -> None:
    x = image(residual)

    with TrtBackend().compile(residual, target) as engine:
        assert isinstance(engine, TrtEngine)
        engine.layer_times(x, 2)
        engine.time(x, 5)
        assert engine.seen["graph"] is True


def test_an_interrupt_ends_the_process_and_not_the_next_question(
    trt_stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = TrtProcess(str(trt_stand_in))

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process._answers, "get", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process.ask("device")

    assert not process.alive
    with pytest.raises(Lost, match="it was interrupted, asked to device"):
        process.ask("device")
    process.close()


def test_a_launcher_may_say_where_tensorrt_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the launcher of a kit does; derycc's own folder is not handed on."""
    stand_in = Path(__file__).parent / "stand_in"
    (tmp_path / "sitecustomize.py").write_text("import libraries; libraries.install()")
    script = tmp_path / "launcher"
    script.write_text(
        "#!/bin/sh\n"
        f'export PYTHONPATH={stand_in}:{tmp_path}:"$PYTHONPATH"\n'
        f'exec {sys.executable} "$@"\n'
    )
    script.chmod(0o755)
    root = str(Path(trt_process.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}/elsewhere")
    monkeypatch.setenv(PYTHON, str(script))

    assert TrtBackend().unavailable() is None
    assert trt_process.environ()["PYTHONPATH"] == "/elsewhere"


def test_timings_of_another_gpu_are_begun_anew(
    plans: Path, residual: ExportedModel, target: Target
) -> None:
    backend = TrtBackend()
    backend.compile(residual, target).close()
    (cache,) = plans.glob("*.cache")
    cache.write_bytes(b"other gpu;")

    backend.compile(one("Relu"), target).close()

    assert cache.read_bytes() == b"timed;"


def test_a_block_that_cannot_be_built_is_told_in_the_builders_words(target: Target) -> None:
    with pytest.raises(
        UsageError, match=r"'one': it cannot build an engine of it .*Could not find"
    ):
        TrtBackend().compile(one("Det"), target)

    TrtBackend().compile(one("Relu"), target).close()  # and the next one is built


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("die-build", r"signal 11 \(SIGSEGV\), asked to build; its last lines: .*invalid pointer"),
        ("hang-build", r"said nothing for 0\.5 s, asked to build"),
        ("garbage-build", r"what it answered is no frame: a frame of 4294967295 bytes"),
        ("die-run", r"signal 11 \(SIGSEGV\), asked to load"),
        ("hang-run", r"said nothing for 0\.5 s, asked to load"),
        ("stick-run", r"the GPU is of no use to it any more .*, asked to load"),
    ],
)
def test_a_process_that_is_lost_is_an_answer_and_the_next_block_has_another(
    fault: str, said: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for do in ("build", "load"):
        monkeypatch.setitem(trt_process.SECONDS, do, 0.5 if "hang" in fault else 30.0)
    monkeypatch.setenv("STAND_IN_FAULT", fault)

    with pytest.raises(UsageError, match=rf"was lost over the model 'one': .*{said}"):
        TrtBackend().compile(one("Relu"), target)

    monkeypatch.delenv("STAND_IN_FAULT")
    TrtBackend().compile(one("Relu"), target).close()


def test_a_worker_that_is_killed_between_runs_is_told(target: Target) -> None:
    model = one("Relu")
    engine = TrtBackend().compile(model, target)
    (process,) = trt._processes.values()
    os.kill(process.facts["pid"], 9)

    with pytest.raises(UsageError, match=r"could not run the model 'one': .*SIGKILL"):
        engine.run(image(model))
    engine.close()
    with TrtBackend().compile(model, target) as another:
        assert another.run(image(model))["y"].shape == (2, 2)


def test_a_gpu_without_memory_is_busy_and_no_fault_of_the_model(
    residual: ExportedModel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_MEMORY", "100")

    with pytest.raises(
        TargetUnavailableError, match=r"bytes are wanted, and .* are free.*End other"
    ):
        TrtBackend().compile(residual, target)


def test_a_machine_without_a_gpu_is_told_before_tensorrt_is_asked(
    residual: ExportedModel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_GPU", "none")

    said = TrtBackend().unavailable()

    assert said is not None
    assert "no CUDA-capable device is detected. Check the GPU and its driver" in said
    with pytest.raises(TargetUnavailableError, match="no CUDA-capable device"):
        TrtBackend().compile(residual, target)


def test_a_plan_of_another_version_is_refused(process: TrtProcess, tmp_path: Path) -> None:
    (tmp_path / "old.plan").write_bytes(b'{"version": "8.5.3"}\nx')
    (tmp_path / "no.plan").write_bytes(b"ftrt\0junk")

    for name, said in (("old", "of version 8.5.3"), ("no", "Serialization")):
        with pytest.raises(Refusal, match=said) as refusal:
            process.ask("load", plan=str(tmp_path / f"{name}.plan"))
        assert refusal.value.kind == "plan"


def test_an_interpreter_without_tensorrt_says_what_to_install(
    request: pytest.FixtureRequest,
) -> None:
    request.getfixturevalue("no_tensorrt")  # instead of the one that has stand-ins

    said = TrtBackend().unavailable()

    assert said is not None and "import of tensorrt halted" in said
    assert f"name one that has them in {PYTHON}" in said


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/cat", "/bin/true"])
def test_what_is_no_interpreter_is_told(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, python)

    said = TrtBackend().unavailable()

    assert said is not None and said.startswith(f"TensorRT cannot be used by {python}: ")


def test_a_version_that_is_too_old_is_refused(
    trt_stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_VERSION", "8.5.3.1")

    with pytest.raises(Refusal, match=r"8\.5\.3\.1 is older than 8\.6"):
        TrtProcess(str(trt_stand_in))


def test_a_host_that_is_killed_leaves_no_worker(trt_stand_in: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); "
        "from backends.trt_process import TrtProcess; p = TrtProcess(sys.argv[2]); "
        "print(p.facts['pid'], flush=True); os.kill(os.getpid(), 9)"
    )
    root = str(Path(trt_process.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, root, str(trt_stand_in)], capture_output=True, check=False
    )
    worker = Path(f"/proc/{int(done.stdout)}")

    until = time.monotonic() + 20
    while worker.exists() and time.monotonic() < until:
        time.sleep(0.1)

    assert not worker.exists()


def test_a_question_that_nobody_knows_is_refused(process: TrtProcess) -> None:
    with pytest.raises(Refusal, match="nobody knows how to do 'dance'"):
        process.ask("dance")
    with pytest.raises(Refusal, match="there is no engine 7"):
        process.ask("inspect", engine=7)


def test_a_closed_process_is_not_asked(process: TrtProcess) -> None:
    process.close()

    with pytest.raises(Lost, match="it was closed"):
        process.ask("device")


def test_settings_that_a_version_has_no_flag_for_are_refused(
    process: TrtProcess, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(one("Relu").onnx)

    with pytest.raises(Refusal, match="only TensorRT-RTX builds for a GPU that is not there"):
        process.ask(
            "build",
            onnx=str(tmp_path / "m.onnx"),
            plan=str(tmp_path / "m.plan"),
            cache=None,
            settings={**SETTINGS, "capability": 89},
        )


def test_precisions_of_the_graph_are_allowed_and_held_on_8_6(
    plans: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = helper.make_tensor("w", TensorProto.FLOAT16, [1], np.ones(1, np.float16).tobytes(), True)
    proto = onnx.ModelProto.FromString(one("Relu").onnx)
    proto.graph.initializer.append(half)
    monkeypatch.setenv("STAND_IN_VERSION", "8.6.0")

    TrtBackend().compile(ExportedModel.from_bytes(proto.SerializeToString()), target).close()

    (plan,) = plans.glob("*.plan")
    head = plan.read_bytes().partition(b"\n")[0]
    assert b'"config": [0, 10]' in head  # FP16 and OBEY_PRECISION_CONSTRAINTS; TF32 is cleared
    assert b'"held": [["block/op", "FLOAT", "FLOAT"]]' in head


def test_a_target_of_fp16_runs_a_graph_in_float16(
    plans: Path, residual: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = get_target("cpu:threads=1,backend=trt,precisions=fp16")
    x = image(residual)

    with TrtBackend().compile(residual, half) as engine:
        found = engine.run(x)["y"]
    with ReferenceBackend().compile(residual, half) as reference:
        expected = reference.run(x)["y"]

    backend, single = TrtBackend(), get_target("cpu:threads=1,backend=trt")
    environments = [Environment.capture(one, backend).fingerprint for one in (half, single)]
    assert len(set(environments)) == 2
    assert (gate_on(half).precision, gate_on(single).precision) == ("fp16", "fp32")
    (beside,) = plans.glob("*.json")
    assert '"fp16": true' in beside.read_text()
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.1
