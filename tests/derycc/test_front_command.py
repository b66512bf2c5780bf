"""The front on the command line: exact, predicted, drawn, and refused where there is none."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compiler.assembly import assemble
from compiler.belief import Belief
from compiler.front import SolvedFront
from derycc import plotting
from derycc.alone import donors_alone
from derycc.building import Request
from derycc.fronting import Front, draw_front
from derycc.plotting import check_plot, front_figure, write_plot
from derycc.printing_front import front_data, front_lines
from targets.budget import Budget, Latency
from targets.errors import InfeasibleError, UndecidedError, UsageError, WorkspaceError

if TYPE_CHECKING:
    from compiler.workbench import Workbench
    from tests.derycc.conftest import Workshop

SPAN = Latency(800.0), Latency(2000.0)


@pytest.fixture
def found(desk: "Workbench") -> Front:
    return draw_front(desk, Request(None, Budget(stitches=1)), SPAN, None)


def test_every_point_is_the_best_at_its_budget(desk: "Workbench", found: Front) -> None:
    qualities = [row.quality for row in found.rows]
    budgets = [row.limit_us for row in found.rows]

    assert found.proven
    assert len(found.rows) > 1
    assert qualities == sorted(qualities)
    assert budgets == sorted(budgets)
    for row in found.rows:
        budget = Budget(latency_us=row.limit_us, stitches=1)
        answer = assemble(desk.loop(Belief()).problem(budget))
        assert desk.space.blueprint(answer.arcs) == row.network
        assert row.latency.upper_us <= row.limit_us


def test_donors_stand_beside_it_fastest_first(found: Front) -> None:
    measured = [donor.latency.median_us for donor in found.donors if donor.latency]

    assert len(measured) == 2
    assert measured == sorted(measured)
    assert all(donor.allowed for donor in found.donors)


def test_budgets_may_be_counted(desk: "Workbench") -> None:
    found = draw_front(desk, Request(None), (Latency(1000.0), Latency(2000.0)), 3)

    assert [row.limit_us for row in found.rows] == [1000.0, 1500.0, 2000.0]


def test_no_network_at_all_is_refused_with_the_fastest(desk: "Workbench") -> None:
    with pytest.raises(InfeasibleError, match=r"within 0\.002 ms\. The fastest possible takes"):
        draw_front(desk, Request(None), (Latency(1.0), Latency(2.0)), None)


def test_a_least_quality_has_no_front(desk: "Workbench") -> None:
    with pytest.raises(UsageError, match="--min-quality has no front"):
        draw_front(desk, Request(None, Budget(min_quality=0.5)), SPAN, None)


def test_the_table_says_that_nothing_was_measured(workshop: "Workshop", tmp_path: Path) -> None:
    out = tmp_path / "plots" / "front.html"

    result = workshop.run("front", "--latency", "0.8ms..2ms", "--points", "2", "--out", out)

    assert result.exit_code == 0, result.output
    assert "Best network for every latency, as the zoo's model predicts" in result.stdout
    assert "Donors alone, measured" in result.stdout
    assert "Predicted, not measured: derycc build measures" in result.stdout
    assert result.stdout.endswith(f"Drawn into {out}.\n")
    page = out.read_text(encoding="utf-8")
    assert "front (predicted)" in page
    assert "donors (measured)" in page


@pytest.mark.parametrize(
    ("budget", "left"),
    [
        (Budget(), {"test_efficientnet.random", "test_resnet.random"}),
        (Budget(required=("test_resnet.random",)), {"test_resnet.random"}),
        (Budget(excluded=("test_resnet.random",)), {"test_efficientnet.random"}),
        (Budget(params=1), set()),
        (Budget(macs=1), set()),
    ],
)
def test_a_donor_alone_is_allowed_by_all_that_is_known_of_it(
    desk: "Workbench", budget: Budget, left: set[str]
) -> None:
    assert {donor.model for donor in donors_alone(desk, budget) if donor.allowed} == left


def test_the_front_for_a_program_is_json_alone(workshop: "Workshop") -> None:
    words = ("--latency", "0.8ms..2ms", "--without", "test_resnet", "--json")

    result = workshop.run("front", *words)

    content = json.loads(result.stdout)
    assert (result.stderr, content["measured"], content["proven"]) == ("", False, True)
    (point,) = content["points"]
    assert [s["model"] for s in point["network"]["segments"]] == ["test_efficientnet.random"]
    assert [donor["allowed"] for donor in content["donors"]] == [True, False]


@pytest.mark.parametrize("text", ["5ms", "30ms..5ms", "5ms..", "75% of a..80% of a", "x..y"])
def test_what_is_no_range_is_refused(workshop: "Workshop", text: str) -> None:
    message = workshop.refusal(workshop.run("front", "--latency", text), 2)

    assert message.startswith("Cannot read")


@pytest.mark.parametrize(
    ("name", "absent", "said"),
    [
        ("front.gif", "", "name a file that ends in .html or .png"),
        ("front.html", "plotly", "Drawing needs Plotly, which is not installed: pip install"),
        ("front.png", "kaleido", "front.png needs kaleido, which is not installed"),
    ],
)
def test_what_cannot_be_drawn_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, name: str, absent: str, said: str
) -> None:
    monkeypatch.setattr(plotting, "find_spec", lambda asked: None if asked == absent else True)

    with pytest.raises(UsageError, match=said):
        check_plot(Path(name))


def test_a_figure_has_the_front_as_steps_and_donors_as_points(found: Front) -> None:
    figure = front_figure(found, "reference")

    front, donors = figure.data
    assert front.line.shape == "hv"
    assert list(front.x) == [row.limit_us / 1000 for row in found.rows]
    assert len(donors.x) == 2


def test_a_picture_is_written_by_plotly(
    found: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(plotting, "find_spec", lambda _: True)
    monkeypatch.setattr(
        "plotly.graph_objects.Figure.write_image", lambda *said, **size: drawn.append(said[1:])
    )

    write_plot(tmp_path / "front.png", found, "reference")

    assert drawn == [(tmp_path / "front.png",)]


def test_a_file_that_cannot_be_written_is_said(found: Front, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(WorkspaceError, match="Name another file with --out"):
        write_plot(tmp_path / "file" / "front.html", found, "reference")


def test_what_time_ran_out_for_is_said(found: Front) -> None:
    rows = (replace(found.rows[0], proven=False, limit_us=900.0), *found.rows[1:])
    stopped = replace(found, rows=rows, below_us=850.0)

    assert not stopped.proven
    assert front_lines(stopped)[1:] == [
        "Time ran out: what is best within 0.90 ms is not proven, and budgets up to 0.85 ms were "
        "not decided. Allow more --time-limit."
    ]
    assert front_data(stopped)["undecided_below_us"] == 850.0
    assert front_lines(replace(stopped, below_us=None))[1:] == [
        "Time ran out: what is best within 0.90 ms is not proven. Allow more --time-limit."
    ]


def test_a_front_for_which_time_ran_out_at_once_is_not_called_infeasible(
    desk: "Workbench", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("derycc.fronting.front", lambda *_, **__: SolvedFront((), 2000.0))

    with pytest.raises(UndecidedError, match=r"found no network within .* in 1 s, and no proof"):
        draw_front(desk, Request(None), SPAN, None, 1.0)
