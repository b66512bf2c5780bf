"""Printing a profile: what was measured, how well it predicts, and what to do about noise."""

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from compiler.workbench import Workbench
from derycc.printing_profile import plan_lines, profile_data, profile_notes, profile_table
from profilers.cost_table import CostTable
from profilers.profile import ProfilePlan
from targets.target import get_target


def text(table: Table) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


class Shown:
    """A bench that measured something else."""

    def __init__(self, bench: Workbench, table: CostTable, wanted: Any = None) -> None:
        self.target = bench.target
        self.wanted = wanted or bench.wanted
        self.table = table
        self.latency_model = bench.profile.latency_model(bench.wanted, table)


def test_every_donor_is_a_row_with_its_prediction_by_the_others(desk: Workbench) -> None:
    shown = text(profile_table(desk))

    for name in desk.donors.names:
        assert name in shown
    assert "predicted unseen" in shown
    assert "not measured" not in shown


def test_notes_say_what_was_saved_and_how_well_networks_are_predicted(desk: Workbench) -> None:
    notes = profile_notes(desk)

    assert "11 blocks, 11 of them distinct: 0 measurements saved." in notes
    assert any(note.startswith("Stitch latency: a model fitted to 12 measured") for note in notes)
    assert any("(8 of them, 6 random stitched ones)." in note for note in notes)


def test_what_the_time_limit_left_out_is_said(desk: Workbench) -> None:
    donors = [donor.whole for donor in desk.wanted.donors.values()]
    costs = {key: cost for key, cost in desk.table.costs.items() if key != donors[0]}
    bench: Any = Shown(desk, replace(desk.table, costs=costs, unmeasured=(donors[0],)))

    assert "not measured" in text(profile_table(bench))
    assert any(note.startswith("1 models are not measured yet") for note in profile_notes(bench))
    assert profile_data(bench)["donors"][0]["median_us"] is None
    assert profile_data(bench)["unmeasured"] == 1


def test_failures_are_said_with_the_first_reason(desk: Workbench) -> None:
    key = next(iter(desk.wanted.windows.values()))
    costs = {k: cost for k, cost in desk.table.costs.items() if k != key}
    bench: Any = Shown(desk, replace(desk.table, costs=costs, failures={key: "out of memory"}))

    assert "1 models could not be measured and are estimated from the others. The first: " in str(
        profile_notes(bench)
    )
    assert profile_data(bench)["failures"] == {key: "out of memory"}


def test_noisy_measurements_are_counted_with_what_to_do(desk: Workbench) -> None:
    costs = {key: replace(cost, capped=True) for key, cost in desk.table.costs.items()}
    bench: Any = Shown(desk, replace(desk.table, costs=costs))

    (note,) = [note for note in profile_notes(bench) if "noisy" in note]

    assert note.startswith(f"{len(costs)} of {len(costs)} measurements are noisy (time ran out)")
    assert "Close other programs" in note
    assert "noisy" in text(profile_table(bench))


def test_what_cannot_be_had_in_a_precision_is_said(desk: Workbench) -> None:
    key = next(iter(desk.wanted.donors))
    wanted = replace(desk.wanted, int8={key: _Structures({})})
    bench: Any = Shown(desk, desk.table, wanted)
    bench.target = get_target("reference:precisions=fp32+int8+fp16")

    notes = profile_notes(bench)

    assert "1 blocks cannot be had in int8. The first, stem: it has no operators" in notes
    assert any(note.startswith("The target allows fp16, which is not measured") for note in notes)


def test_int8_is_compared_with_fp32_block_by_block(desk: Workbench) -> None:
    wanted = replace(
        desk.wanted,
        int8={
            key: _Structures(dict(zip(donor.names, (p.key for p in donor.chain), strict=True)))
            for key, donor in desk.wanted.donors.items()
        },
    )
    bench: Any = Shown(desk, desk.table, wanted)

    assert any(
        note == "int8: 0 of 11 blocks are faster than in fp32; an int8 block takes 100 % of its "
        "fp32 latency (geometric mean)."
        for note in profile_notes(bench)
    )


def test_a_profile_as_data_has_what_the_table_has(desk: Workbench) -> None:
    data = profile_data(desk)

    first = data["donors"][0]
    assert first["donor"] == desk.donors.names[0]
    assert first["predicted_unseen_error"] == pytest.approx(
        desk.latency_model.predictor.left_out[0].relative_error
    )
    assert data["stitch_model"]["shapes"] == 12
    assert data["measurements"] == len(desk.wanted.keys)


def test_a_plan_says_how_much_fits() -> None:
    plan = ProfilePlan(total=10, distinct=8, cached=0, to_measure=8, estimated_seconds=9.6)

    assert plan_lines(plan) == [
        "10 models still to measure, 8 of them distinct.",
        "About 10 s where all run to their limits, usually less. Nothing was measured (--dry-run).",
    ]
    assert plan_lines(replace(plan, fits=3))[1] == (
        "About 3 of them fit into the time limit even then."
    )


class _Structures:
    def __init__(self, blocks: dict[str, str]) -> None:
        self.blocks = blocks
        self.whole = ""
        self.refused = {"stem": "it has no operators"}
