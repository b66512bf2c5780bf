"""TensorRT's worker on stand-ins of three versions: the same calls do, and times are labelled."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from backends.model import ExportedModel
from backends.reference import ReferenceBackend
from backends.trt import TrtBackend, TrtEngine
from backends.trt_process import Refusal, TrtProcess
from compiler.verification import gate_on
from profilers.environment import Environment
from targets.target import Target, get_target
from tests.backends.trt_cases import SETTINGS, VERSIONS, image, one

pytestmark = pytest.mark.usefixtures("trt_stand_in")


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


def test_profiling_layers_leaves_the_engine_as_it_was(
    residual: ExportedModel, target: Target
) -> None:
    x = image(residual)

    with TrtBackend().compile(residual, target) as engine:
        assert isinstance(engine, TrtEngine)
        engine.layer_times(x, 2)
        engine.time(x, 5)
        assert engine.seen["graph"] is True


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
