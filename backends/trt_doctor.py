"""The ladder that TensorRT stands on, step by step, each in a process of its own.

A step needs those below it: the first that fails is what is to be mended, and its message says how.
Nothing is loaded into this process, so that nothing can end it.
"""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from backends.backend import Step
from backends.trt_plans import Settings
from backends.trt_process import PYTHON, Lost, Refusal, TrtProcess, environ, interpreter
from backends.trt_versions import known_fault

_SECONDS = 60
_OLDEST, _NEWEST = (3, 8), (3, 13)


def climb() -> Iterator[Step]:
    """The steps from the interpreter up, until one fails that is needed."""
    python = interpreter()
    for name, look, fix in _STEPS:
        needed = name not in _WORTH_HAVING
        try:
            yield Step(name, look(python), needed=needed)
        except (Refusal, Lost, _Failed) as error:
            yield Step(name, "", str(error).rstrip("."), fix, needed)
            if needed:
                return


class _Failed(Exception):
    """A step failed; says why."""


def _python(python: str) -> str:
    version = _said(python, "import sys; print('%d.%d.%d' % sys.version_info[:3])")
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version):
        raise _Failed(f"{python} is no Python: asked for its version, it said {version!r:.60}")
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if not _OLDEST <= numbers <= _NEWEST:
        raise _Failed(f"{python} is Python {version}; the worker runs on 3.8 to 3.13")
    return f"Python {version}, {python}"


def _package(name: str, text: str) -> Callable[[str], str]:
    return lambda python: _said(python, text) or name


def _said(python: str, text: str) -> str:
    """What one line of Python prints in a process of its own."""
    try:
        done = subprocess.run(
            # What is in the working folder is not imported.
            [python, "-s", "-c", f"import sys; sys.path[:] = filter(None, sys.path); {text}"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env=environ(),
        )
    except OSError as error:
        raise _Failed(f"{python} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise _Failed(f"it said nothing for {_SECONDS} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        ended = f"it ended with code {done.returncode}"
        raise _Failed(lines[-1] if lines else ended)
    return done.stdout.strip()


def _tensorrt(python: str) -> str:
    process = TrtProcess(python)
    process.close()
    version = str(process.facts["tensorrt"])
    fault = known_fault(version)
    if fault:
        raise _Failed(f"TensorRT {version} is not used: {fault}")
    return f"{'TensorRT-RTX' if process.facts['rtx'] else 'TensorRT'} {version}"


def _device(python: str) -> str:
    process = TrtProcess(python)
    try:
        facts = process.ask("device")
    finally:
        process.close()
    capability = int(facts["capability"])
    memory = int(facts["memory_bytes"]) / 2**30
    return (
        f"{facts['gpu']}, compute capability {capability // 10}.{capability % 10}, "
        f"{memory:.1f} GiB, driver {facts.get('driver') or facts['cuda_driver']}"
    )


def _engine(python: str) -> str:
    told = _tried(python)
    return (
        f"a convolution was built in {told['build']['seconds']:.1f} s and computes what it should"
    )


def _graph(python: str) -> str:
    told = _tried(python)
    if not told["time"]["graph"]:
        raise _Failed("the stream cannot be captured; times will have the launches in them")
    return f"captured; {1e6 * told['time']['seconds'] / _REPEATS:.1f} us an inference"


def _watched(python: str) -> str:
    seen = _tried(python)["time"]["seen"]
    if not seen:
        raise _Failed("NVML does not answer; throttling and other processes would not be seen")
    if seen["processes"]:
        raise _Failed(f"other processes are on the GPU: {seen['processes']}")
    return f"clocks {seen['sm_mhz']} MHz, {seen['celsius']} degrees, no other process"


_REPEATS = 64
_WORTH_HAVING = ("CUDA graph", "NVML")
"""Steps without which engines run, and are timed worse."""


def _tried(python: str) -> dict[str, Any]:
    """Builds, runs and times a convolution in a process of its own."""
    x = np.linspace(-1, 1, 4 * 8 * 8, dtype=np.float32).reshape(1, 4, 8, 8)
    with tempfile.TemporaryDirectory(prefix="derycc-trt-") as name:
        folder = Path(name)
        (folder / "probe.onnx").write_bytes(_probe().SerializeToString())
        np.savez(folder / "x.npz", x)
        given = {"file": str(folder / "x.npz"), "names": ["x"]}
        settings = {**asdict(Settings()), "fp16": False, "int8": False}
        process = TrtProcess(python)
        try:
            built = process.ask(
                "build",
                onnx=str(folder / "probe.onnx"),
                plan=str(folder / "probe.plan"),
                cache=None,
                settings=settings,
            )
            number = process.ask("load", plan=str(folder / "probe.plan"))["engine"]
            process.ask("run", engine=number, inputs=given, outputs=str(folder / "y.npz"))
            with np.load(folder / "y.npz", allow_pickle=False) as arrays:
                y = arrays["arr_0"]
            timed = process.ask("time", engine=number, inputs=given, repeats=_REPEATS, mode="hot")
        finally:
            process.close()
    if not np.allclose(y, 2 * x, rtol=1e-3):
        raise _Failed("a convolution that doubles its input does not")
    return {"build": built, "time": timed}


def _probe() -> ModelProto:
    """A 1x1 convolution that doubles its input."""
    weight = 2 * np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    shape = [1, 4, 8, 8]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="probe")],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    made: ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    return made


_STEPS: tuple[tuple[str, Callable[[str], str], str], ...] = (
    ("interpreter", _python, f"Name a Python of 3.8 to 3.13 that has TensorRT in {PYTHON}."),
    (
        "numpy",
        _package("numpy", "import numpy; print('numpy', numpy.__version__)"),
        "Install numpy for that interpreter.",
    ),
    (
        "TensorRT",
        _tensorrt,
        "Install TensorRT for that interpreter (pip install derycc[tensorrt]), in a version that "
        "is driven: 8.6, 10 or 11.",
    ),
    (
        "driver",
        _package("CUDA driver", "import ctypes; ctypes.CDLL('libcuda.so.1')"),
        "Install NVIDIA's driver, and give the container access to the GPU (--gpus all).",
    ),
    (
        "pycuda",
        _package("pycuda", "import pycuda; print('pycuda', pycuda.VERSION_TEXT)"),
        "Install pycuda for that interpreter: pip install pycuda.",
    ),
    ("GPU", _device, "Check the GPU and its driver with nvidia-smi."),
    ("engine", _engine, "TensorRT does not work with this GPU and driver: see its support matrix."),
    ("CUDA graph", _graph, "Times will have the launches of the host in them. Use a newer driver."),
    ("NVML", _watched, "End other programs on the GPU; NVML comes with its driver."),
)
