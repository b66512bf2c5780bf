"""Small ONNX models, written down node by node."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from backends.backend import Array
from backends.model import ExportedModel
from backends.trt import close_processes
from backends.trt_plans import FOLDER
from backends.trt_process import PYTHON, TrtProcess
from backends.trt_worker.runtime import MODULES
from targets.target import Target, get_target

Build = Callable[..., ModelProto]


def build(
    nodes: Sequence[NodeProto],
    inputs: dict[str, Sequence[int]],
    outputs: dict[str, Sequence[int]],
    weights: dict[str, Array] | None = None,
    dtype: int = TensorProto.FLOAT,
    name: str = "graph",
) -> ModelProto:
    held = [numpy_helper.from_array(array, key) for key, array in (weights or {}).items()]
    graph: GraphProto = helper.make_graph(
        list(nodes),
        name,
        [helper.make_tensor_value_info(key, dtype, list(shape)) for key, shape in inputs.items()],
        [helper.make_tensor_value_info(key, dtype, list(shape)) for key, shape in outputs.items()],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(name="build")
def build_fixture() -> Build:
    return build


@pytest.fixture
def linear() -> ExportedModel:
    """Y = relu(x w + b) for x (1, 2), with numbers that can be checked by hand."""
    weights = {
        "w": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
        "b": np.array([0, -100, 1], np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    proto = build(nodes, {"x": (1, 2)}, {"y": (1, 3)}, weights, name="linear")
    return ExportedModel.from_bytes(proto.SerializeToString())


@pytest.fixture
def two_ways() -> ExportedModel:
    """Two inputs and two outputs: sum and difference."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
    ]
    shape = (2, 2)
    proto = build(nodes, {"a": shape, "b": shape}, {"sum": shape, "difference": shape})
    return ExportedModel.from_bytes(proto.SerializeToString(), "two_ways")


@pytest.fixture
def residual() -> ExportedModel:
    """A residual block of convolutions, batch-norm and activation, as networks have them."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((8, 8, 3, 3)).astype(np.float32),
        "d": random.standard_normal((8, 1, 3, 3)).astype(np.float32),
        **{name: random.random(8).astype(np.float32) + 0.5 for name in ("s", "t", "m", "v")},
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"]),
        helper.make_node("HardSwish", ["n"], ["h"]),
        helper.make_node("Conv", ["h", "d"], ["e"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Add", ["x", "e"], ["y"]),
    ]
    shape = (1, 8, 6, 6)
    proto = build(nodes, {"x": shape}, {"y": shape}, weights, name="residual")
    onnx.checker.check_model(proto)
    return ExportedModel.from_bytes(proto.SerializeToString())


@pytest.fixture
def unloadable() -> ExportedModel:
    """Valid ONNX with an operator that no runtime has."""
    proto = build([helper.make_node("Frobnicate", ["x"], ["y"])], {"x": (1,)}, {"y": (1,)})
    proto.graph.node[0].domain = "nobody"
    proto.opset_import.append(helper.make_opsetid("nobody", 1))
    return ExportedModel.from_bytes(proto.SerializeToString(), "unloadable")


STAND_IN = Path(__file__).resolve().parent / "stand_in"


def interpreter(path: Path, prepared: str) -> str:
    """A script that is called as Python is, and runs some code before what it is given."""
    path.write_text(
        f"#!{sys.executable}\n"
        "import runpy, sys\n"
        f"{prepared}"
        "if '-c' in sys.argv:\n"
        "    exec(sys.argv[-1], {})\n"
        "else:\n"
        "    sys.argv = sys.argv[3:]\n"  # behind -s -B
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def trt_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An interpreter that has stand-ins for TensorRT and pycuda; it is the one that is named."""
    script = tmp_path / "python-with-tensorrt"
    prepared = f"sys.path.insert(0, {str(STAND_IN)!r})\nimport libraries; libraries.install()\n"
    monkeypatch.setenv(PYTHON, interpreter(script, prepared))
    monkeypatch.delenv(FOLDER, raising=False)  # a command that ran in this process has set it
    yield script
    close_processes()


@pytest.fixture
def no_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An interpreter without TensorRT, whatever ours has; it is the one that is named."""
    script = tmp_path / "python-without-tensorrt"
    prepared = "".join(f"sys.modules[{name!r}] = None\n" for name in MODULES)
    monkeypatch.setenv(PYTHON, interpreter(script, prepared))
    yield script
    close_processes()


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
