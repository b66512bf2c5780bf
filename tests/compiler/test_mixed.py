"""Mixed precision: what is asked for in int8 runs in integers, the rest computes what it did."""

import numpy as np
import pytest

from backends.deviation import cosines
from backends.kernels import executed, integer_share
from backends.quantization import run_prefix
from backends.registry import get_backend
from compiler.answers import answer, engine_answers, inputs_of
from compiler.candidates import Photographs
from compiler.donors import Donors
from compiler.mixed import export_mixed
from compiler.network import Blueprint, Network, Segment, build
from compiler.tuning import tune
from compiler.views import Views
from targets.errors import UsageError
from targets.target import get_target

CPU = get_target("cpu:threads=1")
EFFICIENT, RESIDUAL = "test_efficientnet.random", "test_resnet.random"
MIXED = Blueprint(
    64,
    (
        Segment(EFFICIENT, "input", "blocks.1.0"),
        Segment(RESIDUAL, "layer1.0", "output", (("layer2.0", "layer4.0"),)),
    ),
)


@pytest.fixture(scope="module")
def network(tiny_donors: Donors, photographs: Photographs) -> Network:
    made = build(MIXED.in_float, tiny_donors)
    views = Views(photographs.fitting, made.preprocessing, 2)
    return tune(made, tiny_donors, views)


def test_int8_parts_run_in_integers_and_nothing_else_does(
    network: Network, tiny_donors: Donors, photographs: Photographs
) -> None:
    model = export_mixed(network, MIXED, tiny_donors, photographs.fitting)

    kernels = executed(model, CPU)
    inside = [kernel for kernel in kernels if kernel.node.startswith(run_prefix(0))]
    outside = [kernel for kernel in kernels if kernel not in inside]
    assert integer_share(inside) == 1.0
    assert integer_share(outside) == 0.0
    assert sum(kernel.macs for kernel in outside) > 0
    assert [spec.name for spec in (*model.inputs, *model.outputs)] == ["image", "logits"]


def test_a_mixed_engine_answers_nearly_what_the_tuned_network_does(
    network: Network, tiny_donors: Donors, photographs: Photographs
) -> None:
    images = photographs.held_out
    model = export_mixed(network, MIXED, tiny_donors, photographs.fitting)

    with get_backend("ort").compile(model, CPU) as engine:
        found = engine_answers(engine, inputs_of(network.preprocessing, images))

    expected = answer(network, images)
    assert cosines(expected, found).min() > 0.999
    assert not np.array_equal(expected, found)


def test_the_same_network_is_exported_to_the_same_bytes(
    network: Network, tiny_donors: Donors, photographs: Photographs
) -> None:
    once, again = (export_mixed(network, MIXED, tiny_donors, photographs.fitting) for _ in range(2))

    assert once.onnx == again.onnx


def test_int8_parts_out_of_order_are_refused(
    network: Network, tiny_donors: Donors, photographs: Photographs
) -> None:
    wrong = Segment(RESIDUAL, "layer2.0", "output", (("layer1.0", "layer3.0"),))
    blueprint = Blueprint(64, (Segment(EFFICIENT, "input", "blocks.1.0"), wrong))

    with pytest.raises(UsageError, match=r"does not come after the one before it"):
        export_mixed(network, blueprint, tiny_donors, photographs.fitting)
