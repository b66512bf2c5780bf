"""Printing: tables say what was measured, and notes what to think of it."""

from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

from derycc.manifest import Manifest, Quality
from derycc.printing import (
    build_notes,
    build_table,
    network_lines,
)
from derycc.printing_sweep import built_lines, point_data, point_lines, sweep_table
from derycc.report import report_html
from derycc.sweeping import Point


def text(table: Table, width: int = 160) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_a_prediction_that_is_far_off_is_noted(papers: Manifest) -> None:
    latency = replace(papers.latency, predicted_us=500.0, measured_us=1000.0, noisy=True)
    data = replace(papers.data, caution=None)

    notes = build_notes(replace(papers, latency=latency, data=data))

    assert notes == [
        "measured is 2.00 times predicted, so the blocks seem to have been measured while the "
        "machine was in another state. Measure them anew: derycc profile --fresh.",
        "the final measurement is noisy; measure again with derycc bench.",
    ]


def test_a_build_as_predicted_has_only_its_caution(papers: Manifest) -> None:
    assert build_notes(papers) == [papers.data.caution]


def test_quality_is_called_what_it_is(papers: Manifest) -> None:
    score = replace(papers.quality.calibration, top1=0.5)
    with_labels = replace(papers, quality=replace(papers.quality, calibration=score))

    assert "agreement, calibration" in text(build_table(papers))
    assert "top-1, calibration" in text(build_table(with_labels))


def test_measured_quality_is_what_choices_are_made_by_and_the_count_has_its_own_line(
    papers: Manifest,
) -> None:
    score = replace(papers.quality.calibration, images=14, top1=0.5)
    quality = replace(papers.quality, calibration=score, chosen_by=0.625, expected=0.75)

    def rows(quality: Quality) -> list[str]:
        lines = text(build_table(replace(papers, quality=quality))).splitlines()
        return [" ".join(line.strip("│ ").split()) for line in lines]

    corrected, same = rows(quality), rows(replace(quality, chosen_by=0.5))

    assert "top-1, calibration │ │ 75.0 % │ 62.5 %" in corrected
    assert "as counted on 14 of these │ │ │ 50.0 %" in corrected
    assert "top-1, calibration │ │ 75.0 % │ 50.0 %" in same
    assert not any("as counted" in line for line in same)
    page = report_html(replace(papers, quality=quality))
    assert "<td>75.0 %</td><td>62.5 %</td>" in page
    assert "<td>as counted on 14 of these</td><td></td><td></td><td>50.0 %</td>" in page


def test_warnings_are_on_the_page_and_behind_the_sweep(papers: Manifest) -> None:
    guess = Point("2ms", None, "Slow.", 4, warnings=("it guesses <b>.",))

    assert point_lines([guess]) == ["2ms: Slow.", "Warning: 2ms: it guesses <b>."]
    assert "Warning: it guesses &lt;b&gt;." in report_html(replace(papers, warnings=guess.warnings))


@pytest.mark.parametrize(
    ("status", "tried", "bound", "said"),
    [
        ("optimal", 0, 0.5, "Solver: proven best of all networks, expected quality 50.0 %."),
        (
            "optimal",
            2,
            0.5,
            "Solver: proven best of all networks but the 2 tried before it, expected quality "
            "50.0 %.",
        ),
        (
            "feasible",
            0,
            0.75,
            "Solver: feasible, expected quality 50.0 %; none is expected above 75.0 %.",
        ),
        ("feasible", 0, None, "Solver: feasible, expected quality 50.0 %."),
    ],
)
def test_the_solver_says_no_more_than_it_proved(
    papers: Manifest, status: str, tried: int, bound: float | None, said: str
) -> None:
    solver = replace(papers.solver, status=status, already_tried=tried, bound=bound, objective=0.5)

    assert network_lines(replace(papers, solver=solver))[-2] == said


def test_budgets_with_one_network_share_a_line() -> None:
    rows = [
        {"budget": "5ms", "name": "a"},
        {"budget": "6ms", "refusal": "Too fast.", "exit_code": 3},
        {"budget": "7ms", "name": "b"},
        {"budget": "8ms", "name": "a"},
    ]

    assert built_lines(rows) == ["5ms, 8ms: a", "7ms: b"]


def test_refused_budgets_are_a_line_of_dashes() -> None:
    data = point_data(Point("1us", None, "Too fast.", 3))

    assert "none: exit code 3" in text(sweep_table([data]), 200)
    assert data == {"budget": "1us", "refusal": "Too fast.", "exit_code": 3, "best_donor": None}
