"""Layers: told by inspectors of every version, and an engine's time shared out without a rest."""

from math import fsum, isclose
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.trt_layers import UNKNOWN, Layer, attribute, precisions, read_layers

CONV_8 = {
    "Name": "a/conv + a/relu",
    "LayerType": "CaskConvolution",
    "Inputs": [
        {
            "Name": "x",
            "Location": "Device",
            "Dimensions": [1, 8, 16, 16],
            "Format/Datatype": "Channel major FP16 format where channel % 8 == 0",
        }
    ],
    "Outputs": [{"Name": "h", "Format/Datatype": "Channel major FP16 format"}],
    "TacticName": "sm90_xmma_fprop",
    "Metadata": "[ONNX Layer: a/conv]\x1e[ONNX Layer: a/relu]",
}
FUSED_10 = {
    "Name": "{ForeignNode[b/norm...c/gelu]}",
    "LayerType": "Myelin",
    "Inputs": [{"Name": "h", "Format/Datatype": "Row major linear FP32"}],
    "Outputs": [{"Name": "g", "Format/Datatype": "Row major linear FP32"}],
    "Metadata": "[ONNX Layer: b/norm]\x1f[ONNX Layer: c/gelu]\x1e[ONNX Layer: c/gelu]",
}
REFORMAT = {
    "Name": "Reformatting CopyNode for Input Tensor 0 to a/conv",
    "LayerType": "Reformat",
    "Inputs": [{"Name": "image", "Format/Datatype": "Row major linear FP32"}],
    "Outputs": [{"Name": "x", "Format/Datatype": "Channel major FP16 format"}],
    "Metadata": "",
}
INT8_11 = {
    "Name": "d/conv",
    "LayerType": "CaskConvolution",
    "Inputs": [{"Name": "g", "Format": "kLINEAR", "DataType": "Int8"}],
    "Outputs": [{"Name": "y", "Format": "kLINEAR", "DataType": "Half"}],
    "Metadata": "[ONNX Layer: d/conv]",
}
INSPECTED = {"Layers": [REFORMAT, CONV_8, FUSED_10, INT8_11], "Bindings": ["image", "y"]}


def block(node: str) -> str | None:
    return node.partition("/")[0]


def weight_of(node: str) -> float:
    return {"c/gelu": 3.0}.get(node, 1.0)


def test_layers_are_told_in_the_words_of_every_version() -> None:
    reformat, conv, fused, int8 = read_layers(INSPECTED)

    assert (conv.nodes, conv.precision, conv.inputs) == (("a/conv", "a/relu"), "fp16", ("x",))
    assert (fused.nodes, fused.precision) == (("b/norm", "c/gelu"), "fp32")
    assert (int8.nodes, int8.precision, int8.outputs) == (("d/conv",), "int8", ("y",))
    assert (reformat.nodes, reformat.kind) == ((), "Reformat")


def test_precisions_are_of_layers_that_compute() -> None:
    assert precisions(read_layers(INSPECTED)) == {"fp16": 1 / 3, "fp32": 1 / 3, "int8": 1 / 3}


def test_engines_that_tell_names_alone_are_read_too() -> None:
    (layer,) = read_layers({"Layers": ["a/conv + a/relu"], "Bindings": []})

    assert layer == Layer("a/conv + a/relu", UNKNOWN, (), UNKNOWN)
    assert precisions([layer]) == {}


@pytest.mark.parametrize(
    ("text", "precision"),
    [("BFloat16", "bf16"), ("FP8", "fp8"), ("Float", "fp32"), ("kINT4 blocks", UNKNOWN)],
)
def test_types_are_told_apart(text: str, precision: str) -> None:
    row = {"Name": "n", "Inputs": [{"Name": "x", "DataType": text}]}

    assert read_layers({"Layers": [row]})[0].precision == precision


def test_time_goes_to_the_blocks_whose_nodes_it_was() -> None:
    layers = read_layers(INSPECTED)
    times = {layer.name: [1.0, 9.0, 1.0] for layer in layers}

    found = attribute(layers, times, 0.002, block, weight_of)

    # Four layers of a millisecond each by the profiler; two milliseconds by events.
    assert found.overhead == pytest.approx(2.0)
    # The change of format belongs to the block that reads what it writes.
    assert found.seconds == pytest.approx({"a": 0.001, "b": 0.000125, "c": 0.000375, "d": 0.0005})
    assert found.fused == ("{ForeignNode[b/norm...c/gelu]}",)
    assert found.unattributed == 0.0


def test_what_nobody_owns_is_told() -> None:
    layers = (*read_layers(INSPECTED), Layer("shuffle", "Shuffle", (), UNKNOWN))
    times = {layer.name: [1.0] for layer in layers} | {"unheard of": [3.0]}

    found = attribute(layers, times, 0.008, block)

    assert found.unattributed == pytest.approx(0.004)
    assert found.unattributed_share == pytest.approx(0.5)


def test_a_chain_of_changes_of_format_belongs_to_its_end() -> None:
    def copy(name: str, source: str, sink: str) -> Layer:
        return Layer(name, "Reformat", (), "fp32", (source,), (sink,))

    conv = Layer("conv", "Convolution", ("a/conv",), "fp32", ("t2",), ("t3",))
    layers = (copy("in", "t0", "t1"), copy("in 2", "t1", "t2"), conv, copy("out", "t3", "t4"))

    found = attribute(layers, {layer.name: [1.0] for layer in layers}, 0.004, block)

    assert found.seconds == pytest.approx({"a": 0.004})


@given(st.data())
def test_nothing_of_an_engines_time_is_lost_or_made(data: st.DataObject) -> None:
    names = st.sampled_from(["a/1", "a/2", "b/1", "c/1", "nobody"])
    count = data.draw(st.integers(1, 6))
    layers = [
        Layer(
            f"layer {i}",
            "any",
            tuple(data.draw(st.lists(names, max_size=3, unique=True))),
            "fp32",
            (f"t{data.draw(st.integers(0, 6))}",),
            (f"t{data.draw(st.integers(0, 6))}",),
        )
        for i in range(count)
    ]
    positive = st.floats(0.001, 10.0, allow_subnormal=False)
    times: dict[str, Any] = {layer.name: [data.draw(positive)] for layer in layers}
    seconds = data.draw(positive)

    def owner(node: str) -> str | None:
        return None if node == "nobody" else block(node)

    found = attribute(layers, times, seconds, owner, lambda _: data.draw(st.floats(0.0, 5.0)))

    assert isclose(fsum([*found.seconds.values(), found.unattributed]), seconds, rel_tol=1e-9)
    assert all(part >= 0 for part in found.seconds.values())
