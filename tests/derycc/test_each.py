"""Separate builds: what may be compared with the common network, and how it is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from derycc.building import Request
from derycc.each import Separate, comparable, known, require, separate_builds
from derycc.manifest import NAME, Manifest
from derycc.printing_each import each_data, each_lines, each_table
from targets.errors import InfeasibleError


def shared(papers: Manifest) -> Manifest:
    """The same network, as if it had been built for two targets."""
    first = papers.targets[0]
    return replace(papers, targets=(first, replace(first, target="box", budget="2ms")))


def alone(papers: Manifest) -> tuple[Separate, ...]:
    """Two builds with the same budgets; the second network is 10 points better."""
    first = papers.targets[0]
    better = replace(
        papers,
        target="box",
        budget="2ms",
        targets=(replace(first, target="box", budget="2ms"),),
        quality=replace(papers.quality, chosen_by=papers.quality.chosen_by + 0.1),
        network=replace(papers.network, input_size=2 * papers.network.input_size),
    )
    return (
        Separate("reference", papers.budget, Path("a"), papers),
        Separate("box", "2ms", Path("b"), better),
    )


def test_only_builds_of_the_same_question_are_compared(papers: Manifest) -> None:
    common, separate = shared(papers), alone(papers)
    other = replace(separate[1], budget="3ms")

    assert comparable(common, separate)
    assert not comparable(None, separate)
    assert not comparable(common, ())
    assert not comparable(papers, separate[:1])
    assert not comparable(common, (separate[0], other))
    assert not comparable(replace(common, zoo="another"), separate)


def test_what_sharing_costs_is_said_for_each_target(papers: Manifest) -> None:
    common, separate = shared(papers), alone(papers)

    data = each_data(separate, common)
    table = each_table(separate, common)

    assert data["sharing_costs"] == {"reference": 0.0, "box": pytest.approx(0.1)}
    assert list(table.columns[-1].cells) == ["0.0 points", "10.0 points"]
    assert each_lines(separate, common)[1].startswith("Quality is what choices are made by")
    assert "sharing costs nothing" in each_lines(separate[:1], common)[1]


def test_what_must_be_said_of_a_network_is_below_the_table(papers: Manifest) -> None:
    common = replace(shared(papers), warnings=("it guesses.",))
    first, second = alone(replace(papers, warnings=()))
    assert first.papers is not None
    own = replace(first, papers=replace(first.papers, warnings=("it guesses, too.",)))

    assert each_lines((own, second), common)[-2:] == [
        "Warning: reference: it guesses, too.",
        "Warning: common: it guesses.",
    ]
    assert each_lines((own, second), None)[1:] == ["Warning: reference: it guesses, too."]


def test_a_target_without_a_network_has_a_row_and_its_error(papers: Manifest) -> None:
    refused = Separate("box", "2ms", Path("b"), None, InfeasibleError("too fast"))
    separate = (alone(papers)[0], refused)

    table = each_table(separate, shared(papers))

    assert [list(column.cells)[1] for column in table.columns] == [
        "box", "2ms", "-", "-", "none: see below", *list(_common(papers)), "-",
    ]  # fmt: skip
    assert each_data(separate, None)["builds"][1]["refusal"] == "too fast"
    with pytest.raises(InfeasibleError, match="On box: too fast"):
        require(separate)


def _common(papers: Manifest) -> tuple[str, str]:
    upper_us = papers.latency.measured_interval_us[1]
    return f"{upper_us / 1000:.2f} ms", f"{100 * papers.quality.chosen_by:.1f} %"


def test_what_is_no_build_is_not_known(papers: Manifest, tmp_path: Path) -> None:
    assert known(tmp_path) is None
    (tmp_path / NAME).write_bytes(papers.to_json())
    assert known(tmp_path) == papers
    (tmp_path / NAME).write_text("{")
    assert known(tmp_path) is None


def test_one_target_has_no_separate_builds(tmp_path: Path) -> None:
    assert separate_builds(tmp_path, None, Request("1ms"), tmp_path, None) == ()  # type: ignore[arg-type]
