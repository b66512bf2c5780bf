"""Triton: the text of a config is read by the schema that Triton's own client ships."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import text_format

from derycc.triton import MAX_BATCH, QUEUE_MICROSECONDS, TritonModel, triton_name
from targets.errors import UsageError


@pytest.fixture(scope="module")
def schema() -> ModuleType:
    """`model_config.proto`, compiled; its package would import gRPC, so the file is read alone."""
    found = importlib.util.find_spec("tritonclient")
    if found is None or found.origin is None:
        pytest.skip("tritonclient is not installed: pip install tritonclient")
    path = Path(found.origin).parent / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_a_batched_model_is_what_the_schema_describes(schema: ModuleType) -> None:
    text = TritonModel("net", 224, 1000, MAX_BATCH, False, 2).config()

    found = text_format.Parse(text, schema.ModelConfig())

    assert (found.name, found.backend, found.max_batch_size) == ("net", "onnxruntime", 8)
    (image,), (logits,) = found.input, found.output
    assert (image.name, image.data_type, list(image.dims)) == (
        "image",
        schema.TYPE_FP32,
        [3, 224, 224],
    )
    assert (logits.name, logits.data_type, list(logits.dims)) == (
        "logits",
        schema.TYPE_FP32,
        [1000],
    )
    assert logits.label_filename == "labels.txt"
    assert list(found.dynamic_batching.preferred_batch_size) == [8]
    assert found.dynamic_batching.max_queue_delay_microseconds == QUEUE_MICROSECONDS
    (group,) = found.instance_group
    assert (group.count, group.kind) == (1, schema.ModelInstanceGroup.KIND_CPU)
    assert [one.batch_size for one in found.model_warmup] == [1, 8]
    warm = found.model_warmup[0].inputs["image"]
    assert (warm.data_type, list(warm.dims), warm.random_data) == (
        schema.TYPE_FP32,
        [3, 224, 224],
        True,
    )
    assert found.parameters["intra_op_thread_count"].string_value == "2"


def test_a_model_of_one_image_names_its_batch_in_its_dimensions(schema: ModuleType) -> None:
    text = TritonModel("net", 64, 10, 1, True, 1).config()

    found = text_format.Parse(text, schema.ModelConfig())

    assert found.max_batch_size == 0
    assert (found.input[0].data_type, list(found.input[0].dims)) == (
        schema.TYPE_UINT8,
        [1, 64, 64, 3],
    )
    assert list(found.output[0].dims) == [1, 10]
    assert not found.HasField("dynamic_batching")
    assert [one.batch_size for one in found.model_warmup] == [1]


def test_names_for_triton_have_no_surprises() -> None:
    assert triton_name("cpu threads=1, 10 ms") == "cpu_threads_1_10_ms"
    assert triton_name("...") == "network"


def test_a_server_that_computes_nothing_at_once_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot compute 0 images at once"):
        TritonModel("x", 64, 10, 0, False, 1)
