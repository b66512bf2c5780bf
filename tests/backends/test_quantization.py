"""Quantization: what the int8 variant keeps of the model, and what it refuses."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from backends import quantization
from backends.backend import Array
from backends.deviation import compare
from backends.kernels import executed
from backends.model import ExportedModel
from backends.quantization import Quantizer, Scheme, quantize, run_prefix
from targets.errors import TargetUnavailableError, UsageError, WorkspaceError
from targets.machine import cpu_flags
from targets.target import get_target

CPU = get_target("cpu:threads=1")
SHAPE = (1, 8, 6, 6)
UNSIGNED, SIGNED = Scheme(), Scheme(activations="int8", symmetric=True)


def samples(seed: int, count: int = 3, scale: float = 1.0) -> list[dict[str, Array]]:
    random = np.random.default_rng(seed)
    return [{"x": (scale * random.standard_normal(SHAPE)).astype(np.float32)} for _ in range(count)]


def with_other_weights(model: ExportedModel, seed: int) -> ExportedModel:
    random = np.random.default_rng(seed)
    proto = ModelProto.FromString(model.onnx)
    for tensor in proto.graph.initializer:
        values = np.frombuffer(tensor.raw_data, np.float32)
        tensor.raw_data = (values * random.uniform(0.5, 2, values.shape)).astype("<f4").tobytes()
    return ExportedModel.from_bytes(proto.SerializeToString(), f"seed {seed}")


def nodes(model: ExportedModel) -> list[Any]:
    return list(ModelProto.FromString(model.onnx).graph.node)


@pytest.mark.parametrize("scheme", [UNSIGNED, SIGNED, Scheme(per_channel=False, reduce_range=True)])
def test_the_edges_stay_and_the_outputs_are_near(residual: ExportedModel, scheme: Scheme) -> None:
    found = quantize(residual, samples(0, 64), scheme)

    assert (found.inputs, found.outputs) == (residual.inputs, residual.outputs)
    assert found.name == "residual int8"
    error = compare(residual, found, samples(1), CPU)
    assert error.samples == 3
    assert error.cosine > 0.999
    assert 0 < error.relative_error < 0.05


@settings(max_examples=5)
@given(st.integers(1, 1000), st.floats(0.1, 10))
def test_weights_and_samples_count_in_the_key_alone(seed: int, scale: float) -> None:
    base = _residual()
    one = quantize(base, samples(0), UNSIGNED)
    other = quantize(with_other_weights(base, seed), samples(seed, 1, scale), UNSIGNED)

    assert one.structure == other.structure
    assert one.key != other.key
    assert one.structure != base.structure


def _residual() -> ExportedModel:
    """A convolution, a clipped one of few channels behind it, and their sum."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((8, 8, 1, 1)).astype(np.float32),
        "d": random.standard_normal((8, 1, 3, 3)).astype(np.float32),
        "b": random.standard_normal(8).astype(np.float32),
    }
    parts = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "d"], ["e"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Add", ["x", "e"], ["y"]),
    ]
    return exported(parts, weights)


def exported(parts: list[Any], weights: dict[str, Array], name: str = "block") -> ExportedModel:
    edges = [helper.make_tensor_value_info(key, TensorProto.FLOAT, SHAPE) for key in ("x", "y")]
    held = [numpy_helper.from_array(array, key) for key, array in weights.items()]
    graph = helper.make_graph(parts, name, edges[:1], edges[1:], held)
    opsets = [helper.make_opsetid("", 18)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return ExportedModel.from_bytes(proto.SerializeToString(), name)


def test_schemes_differ_in_structure(residual: ExportedModel) -> None:
    schemes = [UNSIGNED, SIGNED, Scheme(per_channel=False)]

    found = {quantize(residual, samples(0), scheme).structure for scheme in schemes}

    assert len(found) == 3


def test_symmetric_activations_have_no_zero_point(residual: ExportedModel) -> None:
    found = quantize(residual, samples(0), SIGNED)

    graph = ModelProto.FromString(found.onnx).graph
    zeros = [tensor for tensor in graph.initializer if tensor.name.endswith("_zero_point")]
    assert zeros
    assert not any(any(tensor.raw_data) or any(tensor.int32_data) for tensor in zeros)


def test_operators_without_integer_kernels_stay_float() -> None:
    parts = [helper.make_node("Erf", ["x"], ["e"]), helper.make_node("Neg", ["e"], ["y"])]

    found = quantize(exported(parts, {}), samples(0), UNSIGNED)

    assert [node.op_type for node in nodes(found)] == ["Erf", "Neg"]


@pytest.mark.parametrize(("norm", "converted"), [(False, True), (True, False)])
def test_sums_stay_float_beside_a_normalization_of_activations(norm: bool, converted: bool) -> None:
    weights = {"w": np.ones((8, 8, 1, 1), np.float32), "s": np.ones(6, np.float32)}
    parts = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("LayerNormalization", ["c", "s"], ["n"]),
        helper.make_node("Add", ["x", "n" if norm else "c"], ["y"]),
    ]
    kept = [part for part in parts if norm or part.op_type != "LayerNormalization"]

    found = nodes(quantize(exported(kept, weights), samples(0), UNSIGNED))

    (added,) = [node for node in found if node.op_type == "Add"]
    readers = [node.op_type for node in found if added.output[0] in node.input]
    assert readers == (["QuantizeLinear"] if converted else [])


def test_only_operator_sets_that_are_used_are_imported(residual: ExportedModel) -> None:
    found = ModelProto.FromString(quantize(residual, samples(0), UNSIGNED).onnx)

    assert [entry.domain for entry in found.opset_import] == [""]
    assert not found.metadata_props


def test_nothing_is_printed_and_no_file_is_left(
    residual: ExportedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    quantize(residual, samples(0), UNSIGNED)

    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


ONCE_MORE = """
import hashlib, sys
import numpy as np
from backends.kernels import executed
from backends.model import ExportedModel
from backends.quantization import Quantizer, Scheme, quantize, run_prefix

random = np.random.default_rng(0)
given = [{"x": random.standard_normal((1, 8, 6, 6)).astype(np.float32)} for _ in range(3)]
found = quantize(ExportedModel.load(sys.argv[1]), given, Scheme())
print(hashlib.sha256(found.onnx).hexdigest())
"""


def test_the_same_bytes_come_out_in_another_process(tmp_path: Path) -> None:
    path = _residual().save(tmp_path / "block.onnx")
    here = quantize(ExportedModel.load(path), samples(0), UNSIGNED)

    root = str(Path(quantization.__file__).resolve().parents[1])
    environ = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": root}
    told = subprocess.run(
        [sys.executable, "-c", ONCE_MORE, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env=environ,
    )

    assert told.stdout.strip() == hashlib.sha256(here.onnx).hexdigest()


def test_without_samples_it_asks_for_some(residual: ExportedModel) -> None:
    with pytest.raises(UsageError, match=r"'residual' without samples\. Give at least one set"):
        quantize(residual, [])


@pytest.mark.parametrize(
    "sample",
    [
        {"z": np.zeros(SHAPE, np.float32)},
        {"x": np.zeros(SHAPE, np.float64)},
        {"x": np.zeros((1, 8, 3, 3), np.float32)},
    ],
)
def test_samples_of_another_model_are_refused(
    residual: ExportedModel, sample: dict[str, Array]
) -> None:
    with pytest.raises(UsageError, match=r"it takes \{'x': \('float32', \(1, 8, 6, 6\)\)\}"):
        quantize(residual, [sample])


def test_a_model_that_cannot_be_quantized_says_why(unloadable: ExportedModel) -> None:
    sample = {spec.name: np.zeros(spec.shape, np.float32) for spec in unloadable.inputs}

    with pytest.raises(
        UsageError, match=r"cannot quantize the model 'unloadable': .*Frobnicate.* Use it in float"
    ):
        quantize(unloadable, [sample])


def test_a_full_disk_is_a_workspace_error(
    residual: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(WorkspaceError, match=r"temporary files: No space left on device. Free"):
        quantize(residual, samples(0))


def test_activations_of_an_unknown_type_are_refused() -> None:
    with pytest.raises(UsageError, match=r"to 'int4'\. Choose int8 or uint8\."):
        Scheme(activations="int4")


@pytest.mark.parametrize(
    ("flags", "machine", "scheme"),
    [
        (("avx2", "avx512_vnni"), "x86_64", Scheme("uint8")),
        (("avx2", "avx_vnni"), "AMD64", Scheme("uint8")),
        (("avx2",), "x86_64", Scheme("uint8", reduce_range=True)),
        ((), "x86_64", Scheme("uint8", reduce_range=True)),
        (("asimd", "asimddp"), "aarch64", Scheme("int8")),
        (("asimd",), "aarch64", Scheme("int8", reduce_range=True)),
        ((), "arm64", Scheme("int8")),
    ],
)
def test_the_native_scheme_follows_the_instruction_set(
    flags: tuple[str, ...], machine: str, scheme: Scheme
) -> None:
    assert Scheme.native(flags, machine) == scheme


def test_weights_of_seven_bits_stay_in_their_range() -> None:
    def greatest(scheme: Scheme) -> int:
        graph = ModelProto.FromString(quantize(_residual(), samples(0), scheme).onnx).graph
        weights = [held for held in graph.initializer if held.name.endswith("w_quantized")]
        return max(int(np.abs(np.frombuffer(held.raw_data, np.int8)).max()) for held in weights)

    assert greatest(Scheme()) == 127
    assert greatest(Scheme(reduce_range=True)) <= 64


def test_this_machine_has_a_scheme_and_versions() -> None:
    assert Scheme.native() == Scheme.native(cpu_flags(), platform.machine())
    assert len(quantization.versions()) == 3


@pytest.mark.parametrize(
    "call", [quantization.versions, lambda: quantize(_residual(), samples(0), UNSIGNED)]
)
def test_without_onnxruntime_it_says_what_to_install(
    call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(TargetUnavailableError, match=r"Install it: pip install onnxruntime"):
        call()


def marked() -> ExportedModel:
    """Two convolutions one behind the other; the tensor between them is an output, too."""
    random = np.random.default_rng(0)
    weights = {
        name: random.standard_normal((8, 8, 1, 1)).astype(np.float32) / 8 for name in ("v", "w")
    }
    parts = [
        helper.make_node("Conv", ["x", "v"], ["a"]),
        helper.make_node("Relu", ["a"], ["m"]),
        helper.make_node("Conv", ["m", "w"], ["b"]),
        helper.make_node("Erf", ["b"], ["y"]),
    ]
    proto = ModelProto.FromString(exported(parts, weights).onnx)
    proto.graph.output.insert(0, helper.make_tensor_value_info("m", TensorProto.FLOAT, SHAPE))
    return ExportedModel.from_bytes(proto.SerializeToString(), "marked")


@pytest.mark.parametrize(("run", "place"), [(("x", "m"), 0), (("m", "y"), 1)])
def test_only_the_run_that_was_asked_for_is_in_integers(run: tuple[str, str], place: int) -> None:
    quantizer = Quantizer(marked(), samples(0), UNSIGNED, ["m"])

    found = quantizer.quantized([run])

    products = [kernel for kernel in executed(found, CPU) if kernel.macs]
    assert [spec.name for spec in found.outputs] == ["y"]
    assert [kernel.integer for kernel in products] == [index == place for index in (0, 1)]
    assert [k.node.startswith(run_prefix(0)) for k in products] == [k.integer for k in products]
    assert compare(quantizer.in_float, found, samples(1), CPU).cosine > 0.99


def test_runs_that_follow_each_other_share_a_pair_and_give_the_same_bytes_again() -> None:
    quantizer = Quantizer(marked(), samples(0), UNSIGNED, ["m"])

    found = quantizer.quantized([("x", "m"), ("m", "y")])

    again = Quantizer(marked(), samples(0), UNSIGNED, ["m"]).quantized([("x", "m"), ("m", "y")])
    pairs = [node for node in nodes(found) if node.op_type == "QuantizeLinear"]
    assert len(pairs) == 3
    assert found.onnx == quantizer.quantized([("x", "m"), ("m", "y")]).onnx == again.onnx


def test_a_run_without_anything_to_quantize_is_refused() -> None:
    parts = [helper.make_node("Erf", ["x"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    proto = ModelProto.FromString(exported(parts, {}).onnx)
    proto.graph.output.insert(0, helper.make_tensor_value_info("m", TensorProto.FLOAT, SHAPE))
    model = ExportedModel.from_bytes(proto.SerializeToString(), "shapeless")

    with pytest.raises(UsageError, match="from x to m: no operator there has an integer kernel"):
        Quantizer(model, samples(0), UNSIGNED, ["m"]).quantized([("x", "m")])


def test_a_normalization_in_one_run_leaves_the_sums_of_another_in_integers() -> None:
    parts = [
        helper.make_node("Add", ["x", "x"], ["m"]),
        helper.make_node("LayerNormalization", ["m", "s"], ["n"], axis=-1),
        helper.make_node("Add", ["n", "n"], ["y"]),
    ]
    proto = ModelProto.FromString(exported(parts, {"s": np.ones(6, np.float32)}).onnx)
    proto.graph.output.insert(0, helper.make_tensor_value_info("m", TensorProto.FLOAT, SHAPE))
    model = ExportedModel.from_bytes(proto.SerializeToString(), "normed")

    found = Quantizer(model, samples(0), UNSIGNED, ["m"]).quantized([("x", "m")])

    ran = [kernel.op_type for kernel in executed(found, CPU)]
    assert ran.count("QLinearAdd") == 1
    assert ran.count("Add") == 1
