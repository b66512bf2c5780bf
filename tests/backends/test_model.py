from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from backends.model import ExportedModel, TensorSpec
from targets.errors import UsageError


def test_specs_are_read_from_the_graph(build: Any) -> None:
    nodes = [helper.make_node("Flatten", ["image"], ["features"])]
    proto = build(nodes, {"image": (1, 3, 8, 8)}, {"features": (1, 192)}, name="flat")

    model = ExportedModel.from_bytes(proto.SerializeToString())

    assert model.inputs == (TensorSpec("image", (1, 3, 8, 8), "float32", "NCHW"),)
    assert model.outputs == (TensorSpec("features", (1, 192), "float32", "NC"),)
    assert (model.name, model.nodes, model.params) == ("flat", 1, 0)
    assert model.inputs[0].elements == 192
    assert model.inputs[0].nbytes == 768


def test_parameters_are_the_elements_of_float_weights(residual: ExportedModel) -> None:
    assert residual.params == 8 * 8 * 9 + 8 * 9 + 4 * 8
    assert residual.nodes == 5


def test_a_weight_that_is_listed_as_an_input_is_no_input(build: Any) -> None:
    w = np.ones((1, 2), np.float32)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    proto = build(nodes, {"x": (1, 2), "w": (1, 2)}, {"y": (1, 2)}, {"w": w})

    model = ExportedModel.from_bytes(proto.SerializeToString())

    assert [spec.name for spec in model.inputs] == ["x"]


def test_a_saved_model_loads_as_the_same_model(linear: ExportedModel, tmp_path: Path) -> None:
    path = linear.save(tmp_path / "linear.onnx")

    assert ExportedModel.load(path) == linear
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_is_named_by_its_file(linear: ExportedModel, tmp_path: Path) -> None:
    assert ExportedModel.load(linear.save(tmp_path / "other.onnx")).name == "other"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read the model file .*gone.onnx': No such file"):
        ExportedModel.load(tmp_path / "gone.onnx")


def test_a_folder_that_is_not_there_cannot_be_written_to(
    linear: ExportedModel, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"Cannot write the model file .* Choose a folder"):
        linear.save(tmp_path / "nowhere" / "linear.onnx")


def test_a_failed_write_leaves_nothing_behind(linear: ExportedModel, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()

    with pytest.raises(UsageError, match=r"Cannot write the model file"):
        linear.save(tmp_path / "taken")

    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("content", [b"\xff\xfe not onnx at all", b"", b"hello"])
def test_what_is_no_onnx_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match=r"The model 'junk' (cannot be read as|is no valid) ONNX"):
        ExportedModel.from_bytes(content, "junk")


def test_an_invalid_graph_is_refused(build: Any) -> None:
    proto = build([helper.make_node("Relu", ["gone"], ["y"])], {"x": (1,)}, {"y": (1,)})

    with pytest.raises(UsageError, match=r"The model is no valid ONNX: .*Export it again"):
        ExportedModel.from_bytes(proto.SerializeToString())


def test_a_dynamic_shape_is_refused_by_the_name_of_its_dimension(build: Any) -> None:
    proto = build([helper.make_node("Relu", ["x"], ["y"])], {"x": ("batch", 3)}, {"y": (1, 3)})

    with pytest.raises(UsageError, match=r"'x' has a dynamic shape \(batch, 3\).*static shapes"):
        ExportedModel.from_bytes(proto.SerializeToString())


def test_an_edge_without_a_shape_is_refused(build: Any) -> None:
    proto: ModelProto = build([helper.make_node("Relu", ["x"], ["y"])], {"x": (1,)}, {"y": (1,)})
    proto.graph.output[0].type.tensor_type.ClearField("shape")

    with pytest.raises(UsageError, match=r"is no tensor with a shape|no valid ONNX"):
        ExportedModel.from_bytes(proto.SerializeToString())


def test_weights_in_other_files_are_refused(build: Any) -> None:
    w = np.ones(2, np.float32)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    proto = build(nodes, {"x": (2,)}, {"y": (2,)}, {"w": w})
    set_external_data(proto.graph.initializer[0], "weights.bin")

    with pytest.raises(UsageError, match=r"keeps weights in other files .external data"):
        ExportedModel.from_bytes(proto.SerializeToString())


def test_weights_of_a_constant_in_other_files_are_refused(build: Any) -> None:
    value = numpy_helper.from_array(np.ones(2, np.float32), "value")
    set_external_data(value, "weights.bin")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        helper.make_node("Add", ["x", "w"], ["y"]),
    ]
    proto = build(nodes, {"x": (2,)}, {"y": (2,)})

    with pytest.raises(UsageError, match=r"keeps weights in other files"):
        ExportedModel.from_bytes(proto.SerializeToString())


def test_sparse_weights_are_refused(build: Any) -> None:
    proto: ModelProto = build([helper.make_node("Relu", ["x"], ["y"])], {"x": (2,)}, {"y": (2,)})
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2]))

    with pytest.raises(UsageError, match=r"has sparse initializers"):
        ExportedModel.from_bytes(proto.SerializeToString())


@pytest.mark.parametrize("shape", [(0,), (1, -3)])
def test_a_tensor_without_elements_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"every dimension must be a whole number of at least 1"):
        TensorSpec("x", shape)


def test_a_dtype_that_numpy_does_not_know_is_refused() -> None:
    with pytest.raises(UsageError, match=r"has the dtype 'float33', which numpy does not know"):
        TensorSpec("x", (1,), "float33")


@given(st.lists(st.integers(1, 5), max_size=4), st.sampled_from(["float32", "float16", "int64"]))
def test_a_spec_has_the_size_of_an_array_of_its_shape(shape: list[int], dtype: str) -> None:
    spec = TensorSpec("x", tuple(shape), dtype)

    assert spec.elements == np.zeros(shape, dtype).size
    assert spec.nbytes == np.zeros(shape, dtype).nbytes


def test_the_edge_of_another_dtype_keeps_it(build: Any) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    proto = build(nodes, {"x": (2,)}, {"y": (2,)}, dtype=TensorProto.FLOAT16)

    assert ExportedModel.from_bytes(proto.SerializeToString()).inputs[0].dtype == "float16"
