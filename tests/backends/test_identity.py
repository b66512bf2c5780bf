"""The laws of `key` and `structure`: what changes them and what must not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from backends.backend import Array
from backends.model import ExportedModel


def model(
    nodes: list[NodeProto], weights: dict[str, Array] | None = None, opset: int = 17
) -> ModelProto:
    shape = (1, 4, 8, 8)
    held = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        held,
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def exported(proto: ModelProto) -> ExportedModel:
    return ExportedModel.from_bytes(proto.SerializeToString())


def pair(first: ModelProto, second: ModelProto) -> tuple[bool, bool]:
    """Whether two models have the same key, and the same structure."""
    one, two = exported(first), exported(second)
    return one.key == two.key, one.structure == two.structure


def conv(seed: int = 0, bias: bool = True, pad: int = 1) -> ModelProto:
    random = np.random.default_rng(seed)
    weights = {"w": random.standard_normal((4, 4, 3, 3)).astype(np.float32)}
    if bias:
        weights["b"] = random.standard_normal(4).astype(np.float32)
    pads = [pad, pad, 2 - pad, 2 - pad]
    return model([helper.make_node("Conv", ["x", *weights], ["y"], pads=pads)], weights)


def rename(proto: ModelProto, suffix: str) -> ModelProto:
    """Every value, node and graph by another name, edges included."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    copy.graph.name += suffix
    for entry in (*copy.graph.input, *copy.graph.output, *copy.graph.initializer):
        entry.name += suffix
    for node in copy.graph.node:
        node.name += suffix
        node.input[:] = [name and name + suffix for name in node.input]
        node.output[:] = [name and name + suffix for name in node.output]
    return copy


def branches(order: tuple[int, ...], dead: bool = False) -> ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Sigmoid", ["x"], ["b"]),
        helper.make_node("Tanh", ["x"], ["c"]),
    ]
    chosen = [nodes[index] for index in order]
    extra = [helper.make_node("Neg", ["x"], ["unused"])] if dead else []
    joined = [helper.make_node("Sum", ["a", "b", "c"], ["y"])]
    return model([*extra, *chosen, *joined])


def same_values(a: float, b: float, op: str = "Clip") -> tuple[bool, bool]:
    def one(value: float) -> ModelProto:
        low = np.array(value, np.float32)
        return model([helper.make_node(op, ["x", "low"], ["y"])], {"low": low})

    return pair(one(a), one(b))


@given(st.text("abc/:._", min_size=1, max_size=6))
def test_names_of_values_do_not_count(suffix: str) -> None:
    assert pair(conv(), rename(conv(), suffix)) == (True, True)


@given(st.permutations(range(3)))
def test_the_order_of_independent_nodes_does_not_count(order: list[int]) -> None:
    assert pair(branches((0, 1, 2)), branches(tuple(order))) == (True, True)


def test_nodes_that_no_output_needs_do_not_count() -> None:
    assert pair(branches((0, 1, 2)), branches((0, 1, 2), dead=True)) == (True, True)


def test_doc_strings_metadata_and_the_exporter_do_not_count() -> None:
    noisy = conv()
    noisy.producer_name, noisy.doc_string, noisy.graph.doc_string = "me", "a", "b"
    noisy.graph.node[0].doc_string = "c"
    noisy.graph.node[0].attribute[0].doc_string = "d"
    noisy.metadata_props.add(key="k", value="v")
    noisy.graph.input[0].doc_string = "e"
    noisy.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))

    assert pair(conv(), noisy) == (True, True)


def test_how_a_weight_is_stored_does_not_count() -> None:
    stored = conv()
    weight = stored.graph.initializer[0]
    values = numpy_helper.to_array(weight).ravel().tolist()
    weight.ClearField("raw_data")
    weight.float_data.extend(values)

    assert pair(conv(), stored) == (True, True)


def test_the_order_of_attributes_does_not_count() -> None:
    turned = conv()
    node = turned.graph.node[0]
    node.attribute.append(helper.make_attribute("group", 1))
    straight = ModelProto()
    straight.CopyFrom(turned)
    attributes = list(node.attribute)[::-1]
    del node.attribute[:]
    node.attribute.extend(attributes)

    assert pair(straight, turned) == (True, True)


@given(st.integers(1, 2**31), st.booleans())
def test_weights_count_in_the_key_alone_however_few_they_are(seed: int, bias: bool) -> None:
    assert pair(conv(0, bias), conv(seed, bias)) == (False, True)


def test_attributes_count() -> None:
    assert pair(conv(pad=1), conv(pad=0)) == (False, False)


def test_shapes_of_weights_count() -> None:
    assert pair(conv(bias=False), conv(bias=True)) == (False, False)


def test_the_input_shape_counts() -> None:
    larger = model([helper.make_node("Relu", ["x"], ["y"])])
    smaller = model([helper.make_node("Relu", ["x"], ["y"])])
    for value in (*smaller.graph.input, *smaller.graph.output):
        value.type.tensor_type.shape.dim[2].dim_value = 4

    assert pair(larger, smaller) == (False, False)


def test_the_operator_set_counts() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]

    assert pair(model(nodes, opset=17), model(nodes, opset=18)) == (False, False)


def test_small_constants_that_are_no_weights_count_by_value() -> None:
    assert same_values(0.0, 0.0) == (True, True)
    assert same_values(0.0, 1.0) == (False, False)


def test_a_scalar_factor_counts_because_runtimes_drop_a_factor_of_one() -> None:
    assert same_values(1.0, 2.0, "Mul") == (False, False)


def test_a_vector_beside_an_activation_is_a_weight() -> None:
    def scaled(factor: float) -> ModelProto:
        scale = np.full((4, 1, 1), factor, np.float32)
        return model([helper.make_node("Mul", ["x", "s"], ["y"])], {"s": scale})

    assert pair(scaled(2), scaled(3)) == (False, True)


def test_whole_numbers_count_by_value() -> None:
    def padded(first: int) -> ModelProto:
        pads = np.array([0, 0, first, 0, 0, 0, -first, 0], np.int64)
        return model([helper.make_node("Pad", ["x", "p"], ["y"])], {"p": pads})

    assert pair(padded(1), padded(2)) == (False, False)


def test_quantized_weights_count_by_shape() -> None:
    def quantized(value: int) -> ModelProto:
        weights = {
            "w": np.full((1, 4, 8, 8), value, np.int8),
            "scale": np.array(0.1, np.float32),
        }
        nodes = [
            helper.make_node("DequantizeLinear", ["w", "scale"], ["f"]),
            helper.make_node("Add", ["x", "f"], ["y"]),
        ]
        return model(nodes, weights)

    assert pair(quantized(1), quantized(2)) == (False, True)


def quantized(
    scale: float = 0.1, zero: int = 3, weight: int = 1, bias: int = 5, kind: type = np.uint8
) -> ModelProto:
    """A convolution of quantized values, with a scale a channel and a bias of 32 bits."""
    weights = {
        "s": np.array(scale, np.float32),
        "z": np.array(zero, kind),
        "wq": np.full((4, 4, 1, 1), weight, np.int8),
        "ws": np.full(4, scale, np.float32),
        "wz": np.zeros(4, np.int8),
        "bq": np.full(4, bias, np.int32),
        "bs": np.full(4, scale * scale, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xf"]),
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wf"], axis=0),
        helper.make_node("DequantizeLinear", ["bq", "bs"], ["bf"], axis=0),
        helper.make_node("Conv", ["xf", "wf", "bf"], ["y"]),
    ]
    return model(nodes, weights)


@given(st.floats(0.01, 10), st.integers(0, 255), st.integers(-127, 127), st.integers(-(2**20), 9))
def test_scales_zero_points_and_quantized_numbers_count_in_the_key_alone(
    scale: float, zero: int, weight: int, bias: int
) -> None:
    changed = quantized(scale, zero, weight, bias)

    one, other = exported(quantized()), exported(changed)
    same = (np.float32(scale), zero, weight, bias) == (np.float32(0.1), 3, 1, 5)
    assert one.structure == other.structure
    assert (one.key == other.key) == same


def test_the_type_of_quantized_values_counts() -> None:
    assert pair(quantized(), quantized(kind=np.int8)) == (False, False)


def test_a_whole_number_that_is_used_otherwise_counts_by_value() -> None:
    def twice(value: int) -> ModelProto:
        weights = {"z": np.array(value, np.uint8), "s": np.array(0.1, np.float32)}
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("BitShift", ["q", "z"], ["r"], direction="LEFT"),
            helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
        ]
        return model(nodes, weights)

    assert pair(twice(1), twice(2)) == (False, False)


def test_a_constant_that_is_also_used_otherwise_counts_by_value() -> None:
    def twice(value: float) -> ModelProto:
        weights = {"w": np.full((1, 4, 1, 1), value, np.float32)}
        nodes = [
            helper.make_node("Mul", ["x", "w"], ["h"]),
            helper.make_node("PRelu", ["h", "w"], ["i"]),
            helper.make_node("Max", ["i", "w"], ["y"]),
        ]
        return model(nodes, weights)

    assert pair(twice(2), twice(3)) == (False, False)


def test_constant_nodes_are_treated_like_initializers() -> None:
    def constant(value: float) -> ModelProto:
        tensor = numpy_helper.from_array(np.full((4, 1, 1), value, np.float32))
        nodes = [
            helper.make_node("Constant", [], ["s"], value=tensor),
            helper.make_node("Mul", ["x", "s"], ["y"]),
        ]
        return model(nodes)

    assert pair(constant(2), constant(3)) == (False, True)


def test_one_value_used_twice_is_not_two_values_computed_alike() -> None:
    w = np.ones((4, 4, 1, 1), np.float32)
    once = model(
        [
            helper.make_node("Conv", ["x", "w"], ["a"]),
            helper.make_node("Add", ["a", "a"], ["y"]),
        ],
        {"w": w},
    )
    twice = model(
        [
            helper.make_node("Conv", ["x", "w"], ["a"]),
            helper.make_node("Conv", ["x", "w"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["y"]),
        ],
        {"w": w},
    )

    assert pair(once, twice) == (False, False)


def test_optional_inputs_and_outputs_that_are_left_out_keep_their_place() -> None:
    high = np.array(1, np.float32)
    as_low = model([helper.make_node("Clip", ["x", "c"], ["y"])], {"c": high})
    as_high = model([helper.make_node("Clip", ["x", "", "c"], ["y"])], {"c": high})

    assert pair(as_low, as_high) == (False, False)


def branching(factor: float, name: str = "inner", outer: str = "h") -> ModelProto:
    """An If whose bodies use a value and a weight of the graph around them."""

    def body(label: str, op: str) -> Any:
        out = helper.make_tensor_value_info(label, TensorProto.FLOAT, (1, 4, 8, 8))
        nodes = [
            helper.make_node("Identity", [outer], [f"{label}_i"]),
            helper.make_node(op, [f"{label}_i", "w"], [label]),
        ]
        return helper.make_graph(nodes, label, [], [out])

    nodes = [
        helper.make_node("Relu", ["x"], [outer]),
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            then_branch=body(f"{name}_then", "Mul"),
            else_branch=body(f"{name}_else", "Add"),
        ),
    ]
    weights = {"c": np.array(True), "w": np.full((1, 4, 8, 8), factor, np.float32)}
    return model(nodes, weights)


def test_names_inside_and_around_subgraphs_do_not_count() -> None:
    assert pair(branching(2), branching(2, "other", "g")) == (True, True)


def test_weights_that_subgraphs_use_count_in_the_key() -> None:
    assert pair(branching(2), branching(3)) == (False, True)


def test_a_function_is_the_nodes_that_it_stands_for() -> None:
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    called = model([helper.make_node("Twice", ["x"], ["y"], domain="local")])
    called.functions.append(function)
    called.opset_import.append(helper.make_opsetid("local", 1))
    written = model([helper.make_node("Add", ["x", "x"], ["y"])])

    assert pair(called, written) == (True, True)


def test_texts_count_by_value() -> None:
    def coded(text: str) -> ModelProto:
        constant = helper.make_node(
            "Constant", [], ["s"], value=numpy_helper.from_array(np.array([text], dtype=object))
        )
        length = helper.make_node("Shape", ["s"], ["n"])
        cast = helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT)
        return model([constant, length, cast, helper.make_node("Add", ["x", "f"], ["y"])])

    assert pair(coded("a"), coded("a")) == (True, True)
    assert pair(coded("a"), coded("b")) == (False, False)


def numbers(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def clipped() -> ModelProto:
    """Weights, a scale and two limits, all of them small."""
    weights = {"w": numbers(4, 4, 3, 3), "b": numbers(4), "s": numbers(4, 1, 1)}
    limits = {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["a", "s"], ["m"]),
        helper.make_node("Clip", ["m", "low", "high"], ["y"]),
    ]
    return model(nodes, {**weights, **limits})


def reshaped() -> ModelProto:
    """Whole numbers that are shapes."""
    nodes = [
        helper.make_node("Shape", ["x"], ["n"]),
        helper.make_node("Add", ["n", "one"], ["p"]),
        helper.make_node("Sub", ["p", "one"], ["q"]),
        helper.make_node("Reshape", ["x", "q"], ["y"]),
    ]
    return model(nodes, {"one": np.array([0, 0, 1, 1], np.int64)})


def of_bytes() -> ModelProto:
    """Numbers of 8 bits, many and few, that no quantization takes."""
    nodes = [
        helper.make_node("Cast", ["many"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "f"], ["h"]),
        helper.make_node("Cast", ["few"], ["g"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["h", "g"], ["y"]),
    ]
    many, few = np.full((1, 4, 8, 8), 3, np.int8), np.array([[[[2]]]], np.uint8)
    return model(nodes, {"many": many, "few": few})


@pytest.mark.parametrize(
    ("proto", "structure"),
    [
        (clipped(), "163594e294638bf99824c51abb4391ed0ec145f327ab016da0fce97db890feda"),
        (reshaped(), "effe31f706fb618098977f7b6b59eeaca38947f612f9faea0b64f37e6dd60e2c"),
        (of_bytes(), "2349a1082496082106ffd67944870c11327ccbc5542557a8923a2d1cd07482a0"),
    ],
)
def test_structures_without_quantization_are_those_of_before_there_was_any(
    proto: ModelProto, structure: str
) -> None:
    assert exported(proto).structure == structure


def test_the_hashes_are_the_same_for_ever() -> None:
    """Cost stores are keyed by them: a change here makes every store forget what it measured."""
    weights = {"w": np.arange(16, dtype=np.float32).reshape(4, 4, 1, 1)}
    found = exported(model([helper.make_node("Conv", ["x", "w"], ["y"])], weights))

    assert found.key == "0a9174e303aa09a0c84e15c421233f5c97bb8d20fcea79601031375756fae537"
    assert found.structure == "235fc89e72b2a4b0f393b3838ea85e3ed4de8b5575e72a5b580bbf7a987ea826"
