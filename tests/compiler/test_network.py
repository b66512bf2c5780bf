"""Networks: what a blueprint says, built from copies of the donors' blocks."""

import pytest
import torch

from compiler.donors import Donors
from compiler.network import Blueprint, Network, Segment, build
from targets.errors import UnknownNameError, UsageError

EFFICIENT, RESIDUAL = "test_efficientnet.random", "test_resnet.random"
MIXED = Blueprint(
    64,
    (
        Segment(EFFICIENT, "input", "blocks.1.0"),
        Segment(RESIDUAL, "layer1.0", "layer2.0"),
        Segment(EFFICIENT, "blocks.3.0", "output"),
    ),
)


def pixels(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def mixed(tiny_donors: Donors) -> Network:
    return build(MIXED, tiny_donors)


def test_a_pure_network_is_its_donor_bit_by_bit(tiny_donors: Donors) -> None:
    network = build(Blueprint.pure(EFFICIENT, 64), tiny_donors)

    assert torch.equal(network(pixels()), tiny_donors.module(EFFICIENT)(pixels()))
    assert network.preprocessing == tiny_donors.preprocessing(EFFICIENT, 64)


def test_a_mixed_network_has_its_segments_and_stitches_in_order(mixed: Network) -> None:
    assert (MIXED.stitches, MIXED.donors) == (2, (EFFICIENT, RESIDUAL))
    assert [str(stitch.shape) for stitch in mixed.stitches] == [
        "24x16x16>32x16x16",
        "48x8x8>48x4x4",
    ]
    assert mixed(pixels(3)).shape == (3, 1000)


def test_prefix_and_tail_split_the_network_at_every_stitch(mixed: Network) -> None:
    x = pixels()

    whole = mixed(x)

    assert torch.equal(mixed.tail(mixed.prefix(x, 0), 0), whole)
    assert torch.equal(mixed.tail(mixed.prefix(x, 1), 1), whole)


def test_a_network_is_frozen_in_eval_mode_and_shares_nothing_with_its_donors(
    mixed: Network, tiny_donors: Donors
) -> None:
    donors = {
        tensor.data_ptr()
        for name in (EFFICIENT, RESIDUAL)
        for tensor in tiny_donors.module(name).state_dict().values()
    }

    own = mixed.state_dict().values()

    assert not any(tensor.data_ptr() in donors for tensor in own)
    assert not any(part.training for part in mixed.modules())
    assert not any(parameter.requires_grad for parameter in mixed.parameters())


def test_a_blueprint_reads_as_a_sentence() -> None:
    assert str(MIXED) == (
        "64px test_efficientnet.random[input..blocks.1.0] + "
        "test_resnet.random[layer1.0..layer2.0] + "
        "test_efficientnet.random[blocks.3.0..output]"
    )
    assert str(Blueprint.pure("a", 224)) == "224px a[input..output]"


def test_a_blueprint_needs_a_segment() -> None:
    with pytest.raises(UsageError) as caught:
        Blueprint(64, ())

    assert str(caught.value) == "A network needs at least one segment; this one has none."


@pytest.mark.parametrize(("start", "end"), [("blocks.1", "output"), ("input", "blocks.1")])
def test_a_blueprint_leads_from_the_input_to_the_output(start: str, end: str) -> None:
    with pytest.raises(UsageError) as caught:
        Blueprint(64, (Segment("a", start, end),))

    assert str(caught.value) == (
        f"The network 64px a[{start}..{end}] must begin at 'input' of its first donor and end at "
        "'output' of its last."
    )


def test_a_segment_that_leads_backwards_is_refused(tiny_donors: Donors) -> None:
    segments = (Segment(EFFICIENT, "input", "blocks.2.0"), Segment(RESIDUAL, "output", "output"))

    with pytest.raises(UsageError) as caught:
        build(Blueprint(64, segments), tiny_donors)

    assert str(caught.value) == (
        f"The segment {RESIDUAL}[output..output] is empty: output does not come after output."
    )


def test_segments_that_no_stitch_can_join_are_refused(tiny_donors: Donors) -> None:
    segments = (Segment(EFFICIENT, "input", "output"), Segment(RESIDUAL, "layer1.0", "output"))

    with pytest.raises(UsageError) as caught:
        build(Blueprint(64, segments), tiny_donors)

    assert "cannot be joined from output (1, 1000) to layer1.0 (1, 32, 16, 16): a stitch" in str(
        caught.value
    )


def test_a_donor_or_cut_that_is_not_there_is_named(tiny_donors: Donors) -> None:
    with pytest.raises(UnknownNameError, match="Unknown donor 'mobilenet'"):
        build(Blueprint.pure("mobilenet", 64), tiny_donors)
    with pytest.raises(
        UnknownNameError, match=r"Unknown cut of test_efficientnet\.random 'blocks\.9'"
    ):
        build(
            Blueprint(
                64,
                (Segment(EFFICIENT, "input", "blocks.9"), Segment(EFFICIENT, "blocks.9", "output")),
            ),
            tiny_donors,
        )


def test_a_segment_says_its_int8_parts_and_is_split_where_precision_changes() -> None:
    segment = Segment("a", "input", "output", (("b1", "b2"), ("b4", "output")))

    assert str(segment) == "a[input..output, int8 b1..b2, b4..output]"
    assert str(Segment("a", "input", "b1")) == "a[input..b1]"
    assert [(p.start, p.end, p.precision) for p in segment.pieces] == [
        ("input", "b1", "fp32"),
        ("b1", "b2", "int8"),
        ("b2", "b4", "fp32"),
        ("b4", "output", "int8"),
    ]
    assert [p.precision for p in Segment("a", "input", "b1").pieces] == ["fp32"]


def test_a_blueprint_has_a_float_form() -> None:
    mixed = Blueprint(64, (Segment("a", "input", "output", (("input", "b1"),)),))

    assert mixed.quantized
    assert mixed.in_float == Blueprint.pure("a", 64)
    assert mixed.stitches == 0
    assert not mixed.in_float.quantized


@pytest.mark.parametrize(
    ("parts", "said"), [((("b1", "b1"),), "without blocks"), ((("i", "b"), ("b", "c")), "touch")]
)
def test_int8_parts_that_are_none_or_one_are_refused(
    parts: tuple[tuple[str, str], ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Segment("a", "input", "output", parts)
