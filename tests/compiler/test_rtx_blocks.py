"""TensorRT-RTX, whose parser and builder need no GPU, builds every block of the demo zoo.

Its calls are those of TensorRT 11. Blocks have the demo donors' architectures and random weights.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto, TensorProto, helper

from backends.half import in_half
from backends.model import ExportedModel
from backends.quantization import Scheme
from backends.trt_plans import Settings
from backends.trt_process import Refusal, TrtProcess
from compiler.block_exports import BlockExports
from compiler.cache import Cache
from compiler.dissection import Block
from compiler.donors import Donors
from compiler.zoo import open_zoo

pytestmark = [
    pytest.mark.tensorrt,
    pytest.mark.skipif(
        find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed"
    ),
]

ARCHITECTURES = ("mobilenetv2_100", "tf_efficientnet_lite0", "tf_efficientnet_lite2")
"""Of the demo zoo; EfficientNet-Lite1 has the blocks of Lite2 at other widths."""
SIZE = 64
CAPABILITY = 89
SETTINGS = {**asdict(Settings(level=0, timing_iterations=1)), "fp16": False, "int8": False}


@pytest.fixture(scope="module")
def process() -> Iterator[TrtProcess]:
    process = TrtProcess(sys.executable)
    yield process
    process.close()


class Blocks:
    """The blocks of one donor with random weights, each structure once."""

    def __init__(self, name: str, folder: Path) -> None:
        self._donors = Donors(open_zoo(folder, f"random:{name}"))
        scheme = Scheme(activations="int8", symmetric=True)
        self._exports = BlockExports(self._donors, Cache(folder), scheme=scheme)

    def __iter__(self) -> Iterator[tuple[Block, ExportedModel]]:
        seen = set()
        for block in self._donors.dissection(self._donors.names[0], SIZE).blocks:
            model = self._exports.block(block)
            if model.key not in seen:
                seen.add(model.key)
                yield block, model

    def in_int8(self, block: Block) -> ExportedModel:
        return self._exports.quantized(block)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def blocks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Blocks:
    return Blocks(request.param, tmp_path_factory.mktemp("blocks"))


def build(
    process: TrtProcess, model: ExportedModel, folder: Path, capability: int = CAPABILITY
) -> dict[str, Any]:
    (folder / "m.onnx").write_bytes(model.onnx)
    return process.ask(
        "build",
        onnx=str(folder / "m.onnx"),
        plan=str(folder / "m.plan"),
        cache=None,
        settings={**SETTINGS, "capability": capability},
    )


def layers(told: dict[str, Any], precision: str) -> list[str]:
    """Names of the layers that have an output of a precision."""
    return [layer["name"] for layer in told["layers"] if precision in layer["precision"]]


def test_every_block_is_built_and_its_nodes_are_told_by_name(
    process: TrtProcess, blocks: Blocks, tmp_path: Path
) -> None:
    for _, model in blocks:
        told = build(process, model, tmp_path)
        nodes = {node.name for node in ModelProto.FromString(model.onnx).graph.node}
        said = {name for layer in told["layers"] for name in named(layer["metadata"])}
        assert told["bytes"] > 0
        assert nodes == said
        assert layers(told, "HALF") == []


def test_every_block_is_built_in_half(process: TrtProcess, blocks: Blocks, tmp_path: Path) -> None:
    for _, model in blocks:
        told = build(process, in_half(model), tmp_path)
        inside = [layer for layer in told["layers"] if layer["type"] == "CONVOLUTION"]
        assert inside
        assert all(layer["precision"] == ["HALF"] for layer in inside)


def test_every_block_is_built_in_int8(process: TrtProcess, blocks: Blocks, tmp_path: Path) -> None:
    for block, _ in blocks:
        told = build(process, blocks.in_int8(block), tmp_path)
        kinds = Counter(layer["type"] for layer in told["layers"])
        assert kinds["QUANTIZE"] and kinds["DEQUANTIZE"]
        assert layers(told, "INT8")


def test_a_gpu_that_it_does_not_build_for_is_refused(
    process: TrtProcess, blocks: Blocks, tmp_path: Path
) -> None:
    _, model = next(iter(blocks))

    with pytest.raises(Refusal, match="builds for none of compute capability 90"):
        build(process, model, tmp_path, capability=90)


def test_an_operator_that_nobody_has_is_told_in_the_parsers_words(
    process: TrtProcess, tmp_path: Path
) -> None:
    graph = helper.make_graph(
        [helper.make_node("Frobnicate", ["x"], ["y"], name="block/odd", domain="nobody")],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nobody", 1)]
    proto: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)

    with pytest.raises(Refusal, match=r"Plugin not found.*node 'block/odd', operator Frobnicate"):
        build(process, ExportedModel.from_bytes(proto.SerializeToString(), "odd"), tmp_path)


def test_a_plan_is_not_loaded_where_there_is_no_gpu(process: TrtProcess, tmp_path: Path) -> None:
    """Deserializing would end the process; the GPU is looked for first."""
    with pytest.raises(
        Refusal, match=r"pycuda cannot be imported|no CUDA-capable device|No such file"
    ):
        process.ask("load", plan=str(tmp_path / "none.plan"))

    assert process.alive


def named(metadata: str) -> list[str]:
    """The nodes of ONNX that a layer was made of."""
    return re.findall(r"\[ONNX Layer: ([^\]]+)\]", metadata)
