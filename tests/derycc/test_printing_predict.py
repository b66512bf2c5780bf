"""Printing a prediction: the waterfall adds up, and says what it rests on."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from backends.model import ExportedModel
from compiler.recipe_parts import Link, Stretch, chain_of
from derycc.predicting import Compared, Foretold, Pending
from derycc.printing_predict import pending_lines, predict_data, predict_lines, predict_table
from derycc.waterfall import waterfall
from profilers.context import Context
from profilers.deviations import Deviations
from profilers.part_costs import PartCosts, PartEstimate
from profilers.parts import Cost, Observation, Part
from profilers.prediction import LatencyPredictor

CONTEXT = Context(engine_us=20.0, edge_byte_us=0.01, node_us=1.0)
PENDING = Pending("64px a[x..y]", "reference", 0, (), False, 0.0)


def none() -> ExportedModel:
    raise AssertionError("nothing is exported for a table")


def part(key: str) -> Part:
    return Part(key, "block", 1000, 4000, 4, 100, 200)


def link(name: str, key: str) -> Link:
    make: Callable[[], ExportedModel] = none
    return Link(name, part(key), key, make)


STRETCHES = (
    Stretch("segment 1", "a[x..y] at 64 px", (link("a@64/in..x", "a1"), link("a@64/x..y", "a2"))),
    Stretch("stitch 1", "linear pointwise, stride 1", (link("stitch 8x4x4>9x4x4", "s"),)),
    Stretch("segment 2", "b[z..out] at 32 px", (link("segment 2", "b"),)),
)
ALONE = {"a1": Cost(120.0, 1.0), "a2": Cost(80.0, 1.0), "s": Cost(50.0, 1.0), "b": Cost(200.0, 2.0)}


def told(alone: dict[str, Cost] = ALONE, context: Context = CONTEXT) -> Foretold:
    estimate = PartEstimate((30.0, 0.0, 0.0, 0.0, 0.0), 0.2, 9)
    costs = PartCosts(alone, {"block": estimate})
    predictor = LatencyPredictor(costs, context, Deviations(costs, (), ()))
    prediction = predictor.predict(chain_of(STRETCHES))
    return Foretold(
        "64px a[x..y]", 64, "cpu", STRETCHES, prediction, predictor, PENDING, 0, None, None, None
    )


def text(found: Foretold, blocks: bool = False, mark: str = "█") -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(predict_table(found, blocks, mark))
    return captured.get()


def rows(found: Foretold, blocks: bool = False) -> list[list[str]]:
    lines = [line for line in text(found, blocks).splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_a_waterfall_is_written_out() -> None:
    found = rows(told())

    # Every part: 4 nodes at 1 us, less one engine of 20 us and 300 bytes of edges at 0.01 us.
    assert [row[:8] for row in found] == [
        ["engine and edges", "once", "", "+23.0", "+0.0", "23.0", "23.0", "5.8 %"],
        ["segment 1", "a[x..y]", "200.0", "-38.0", "+0.0", "162.0", "185.0", "40.8 %"],
        [
            "stitch 1",
            "linear pointwise, stride 1",
            "50.0",
            "-19.0",
            "+0.0",
            "31.0",
            "216.0",
            "7.8 %",
        ],
        ["segment 2", "b[z..out] at 32 px", "200.0", "-19.0", "+0.0", "181.0", "397.0", "45.6 %"],
        ["predicted", found[-1][1], "", "", "", "397.0", "397.0", ""],
    ]
    assert found[-1][1].startswith("95 % interval 0.3")
    assert found[1][8] == "█" * 10


def test_a_name_in_brackets_is_printed_as_it_is() -> None:
    assert "Latency of 64px a[x..y] on cpu, in microseconds" in text(told())


def test_blocks_have_a_row_each() -> None:
    found = rows(told(), blocks=True)

    assert [row[1] for row in found[1:5]] == [
        "a in..x",
        "a x..y",
        "linear pointwise, stride 1",
        "b[z..out] at 32 px",
    ]
    assert [row[0] for row in found[1:3]] == ["segment 1", "segment 1"]


def test_bars_can_do_without_unicode() -> None:
    assert "█" not in text(told(), mark="#")
    assert "###" in text(told(), mark="#")


costs = st.lists(st.floats(0.5, 5000.0), min_size=4, max_size=4)
contexts = st.builds(
    Context, *(st.floats(0, most, allow_subnormal=False) for most in (50, 1, 1e-2, 5))
)


@given(us=costs, context=contexts, blocks=st.booleans())
def test_the_steps_add_up_to_the_prediction(
    us: list[float], context: Context, blocks: bool
) -> None:
    found = told({key: Cost(one, 0.1) for key, one in zip(ALONE, us, strict=True)}, context)

    steps = found.steps(blocks)

    assert steps[-1].end_us == pytest.approx(found.prediction.median_us)
    assert sum(step.parts for step in steps) == len(found.prediction.terms)
    for before, after in pairwise(steps):
        assert after.start_us == before.end_us
    for step in steps:
        said = (step.alone_us or 0.0) + step.context_us + step.deviation_us
        assert step.total_us >= said or step.total_us == pytest.approx(said)


def test_what_was_not_measured_alone_is_called_estimated() -> None:
    alone = {key: cost for key, cost in ALONE.items() if key not in ("a2", "b")}

    found = told(alone)

    assert [row[1] for row in rows(found)[1:4]] == [
        "a[x..y]",
        "linear pointwise, stride 1",
        "b[z..out] at 32 px (estimated)",
    ]
    assert predict_lines(found)[0] == (
        "2 of 4 parts were measured alone, 2 estimated; no whole network tells how far to trust it."
    )


def test_parts_that_would_cost_nothing_are_counted() -> None:
    found = told({**ALONE, "s": Cost(10.0, 0.1)})

    assert found.held == 1
    assert predict_lines(found)[-1].startswith("1 parts would cost next to nothing")
    assert predict_data(found)["held_parts"] == 1
    assert predict_data(found)["steps"][2]["total_us"] == 0.5


def test_what_was_measured_first_is_said() -> None:
    found = replace(told(), pending=replace(PENDING, zoo=7, parts=("stem", "head")))

    assert "0 estimated (7 models of the profile and 2 parts just now);" in predict_lines(found)[0]
    assert predict_data(found)["measured_first"] == {"zoo": 7, "parts": ["stem", "head"]}


@pytest.mark.parametrize(
    ("wholes", "said"),
    [
        (1, "one whole network, left out of the fit, is predicted to "),
        (2, "2 whole networks, left out of the fit one by one, are predicted to "),
    ],
)
def test_the_error_on_networks_left_out_is_said(wholes: int, said: str) -> None:
    chain = chain_of(STRETCHES)
    seen = [Observation(str(i), chain, Cost(400.0 + i, 1.0)) for i in range(wholes)]
    predictor = LatencyPredictor.fit(PartCosts.learn(chain, ALONE), seen)

    found = replace(told(), predictor=predictor)

    assert said in predict_lines(found)[0]


def test_a_measurement_stands_beside_its_prediction() -> None:
    found = told()
    inside = Compared.of(found.prediction, 400.0, (390.0, 410.0), False)
    outside = Compared.of(found.prediction, 300.0, (290.0, 310.0), True)

    lines = predict_lines(replace(found, recorded=inside, measured=outside, noisy=2))

    assert lines[:2] == [
        "recorded: 0.40 ms (0.39 ms to 0.41 ms); the prediction is -0.7 % off, and the measurement "
        "inside its interval.",
        "measured now: 0.30 ms (0.29 ms to 0.31 ms), noisy; the prediction is +32.3 % off, and the "
        "measurement outside its interval.",
    ]
    assert lines[3].startswith("2 of these measurements are noisy: measure them again")


def test_a_build_of_another_environment_is_not_compared() -> None:
    found = replace(told(), elsewhere="cpu:threads=8")

    assert predict_lines(found)[0] == (
        "recorded: not compared, since the build was measured on cpu:threads=8 in another "
        "environment (see derycc store list)."
    )
    assert predict_data(found)["recorded_elsewhere"] == "cpu:threads=8"


def test_json_has_everything() -> None:
    data = predict_data(told())

    assert {"network", "input_size", "target", "predicted_us", "interval_us", "context"} < set(data)
    assert (data["recorded"], data["measured"], data["left_out_error"]) == (None, None, None)
    assert data["context"]["engine_us"] == 20.0
    assert sum(step["share"] for step in data["steps"]) == pytest.approx(1.0)
    assert data["steps"][-1]["end_us"] == pytest.approx(data["predicted_us"])


def test_a_plan_says_what_would_be_measured() -> None:
    full = Pending("net", "cpu", 3, ("stem", "head"), True, 12.4)

    assert pending_lines(full) == [
        "Network: net, on cpu.",
        "Would first measure 3 models of its donors' profile.",
        "Would measure 2 parts: stem, head.",
        "Would measure the whole network.",
        "At most 12 s. Nothing was measured (--dry-run).",
    ]
    assert "Everything it needs is measured already." in pending_lines(PENDING)


def test_a_row_is_made_of_its_own_terms() -> None:
    found = told()

    steps = waterfall(STRETCHES, found.prediction, ALONE, blocks=True)

    assert [step.alone_us for step in steps] == [None, 120.0, 80.0, 50.0, 200.0]
