"""Explaining a build: what adds up, what binds, what else there was; and when it cannot be told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compiler.progress import Silent
from derycc.explaining import Explained, asked, explain
from derycc.manifest import Manifest, read_manifest
from derycc.manifest_asked import Choice
from derycc.printing_explain import explain_data, explain_lines, prices_table
from targets.errors import DataError, UsageError, ZooError

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop


@pytest.fixture(scope="module")
def found(workshop: "Workshop") -> Explained:
    return explain(workshop.build, workshop.home, None, Silent())


def test_the_pieces_add_up_to_what_the_manifest_predicted(
    found: Explained, papers: Manifest
) -> None:
    pieces = found.explanation.pieces

    assert [piece.kind for piece in pieces[::2]] == ["segment"] * len(papers.network.segments)
    assert sum(p.latency.median_us for p in pieces) == pytest.approx(papers.latency.predicted_us)
    assert sum(p.latency.upper_us for p in pieces) == pytest.approx(
        papers.latency.predicted_upper_us
    )
    assert sum(p.quality for p in pieces) == pytest.approx(papers.quality.expected)
    assert not found.changed


def test_more_latency_never_buys_less(found: Explained) -> None:
    prices = found.explanation.prices

    assert found.explanation.varied == "latency_us"
    assert [round(offer.asked or 0.0) for offer in prices] == [1080, 1200, 1320]
    bought = [offer.quality or 0.0 for offer in prices]
    assert bought == sorted(bought)


def test_every_limit_is_lifted_by_itself(found: Explained) -> None:
    bounds = {bound.name: bound for bound in found.explanation.bounds}

    assert list(bounds) == ["latency_us", "stitches"]
    assert bounds["latency_us"].asked == 1200.0
    assert bounds["latency_us"].binds
    assert (bounds["latency_us"].without.quality or 0) > (found.explanation.best.quality or 0)


def test_the_runner_up_is_another_network(found: Explained) -> None:
    runner_up = found.explanation.runner_up

    assert runner_up.found
    assert runner_up.network != str(found.explanation.best.network)


def test_the_budget_is_read_from_the_manifest(papers: Manifest) -> None:
    budget = asked(papers)

    assert (budget.latency_us, budget.stitches, budget.required) == (1200.0, 2, ())


def test_an_explanation_is_tables_and_sentences(workshop: "Workshop") -> None:
    result = workshop.derycc("explain", workshop.build, "--home", workshop.home)

    assert result.exit_code == 0, result.output
    assert "Where latency goes and quality comes from (predicted)" in result.stdout
    assert "The price of latency (upper end)" in result.stdout
    assert "A millisecond is worth about " in result.stdout
    assert "What decides: latency (upper end)" in result.stdout
    assert "Runner-up: 64px " in result.stdout


def test_an_explanation_for_a_program_is_json_alone(workshop: "Workshop") -> None:
    result = workshop.derycc("explain", workshop.build, "--home", workshop.home, "--json")

    content = json.loads(result.stdout)
    assert result.stderr == ""
    assert content["budget"]["latency_us"] == 1200.0
    assert {bound["name"] for bound in content["bounds"]} == {"latency_us", "stitches"}
    assert len(content["donors"]) == 2


def test_a_home_without_the_costs_is_refused(workshop: "Workshop", tmp_path: Path) -> None:
    home = workshop.copy("home", tmp_path)
    for path in home.glob("costs.sqlite*"):
        path.unlink()

    result = workshop.derycc("explain", workshop.build, "--home", home)

    message = workshop.refusal(result, 2)
    assert message.startswith(f"The costs that the build followed from are not in {home}/costs")
    assert " measurements are missing. " in message


def rewritten(workshop: "Workshop", where: Path, **fields: Any) -> Path:
    build = workshop.copy("build", where)
    content = json.loads((build / "manifest.json").read_text())
    (build / "manifest.json").write_text(json.dumps({**content, **fields}))
    return build


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"solver": None}, "was written down by hand"),
        ({"beliefs": None}, "did not note what its answer followed from"),
    ],
)
def test_a_build_that_does_not_say_enough_is_refused(
    workshop: "Workshop", tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    build = rewritten(workshop, tmp_path, **fields)

    with pytest.raises(UsageError, match=said):
        explain(build, workshop.home, None, Silent())


def test_other_photographs_are_refused(workshop: "Workshop", tmp_path: Path) -> None:
    data = json.loads((workshop.build / "manifest.json").read_text())["data"]
    build = rewritten(workshop, tmp_path, data={**data, "digest": "other"})

    with pytest.raises(DataError, match="are not those that the build was judged by"):
        explain(build, workshop.home, None, Silent())


def test_other_weights_are_refused(workshop: "Workshop", tmp_path: Path) -> None:
    donors = json.loads((workshop.build / "manifest.json").read_text())["donors"]
    build = rewritten(workshop, tmp_path, donors=[{**donors[0], "weights_sha256": "other"}])

    with pytest.raises(ZooError, match="are not those that the build was made from"):
        explain(build, workshop.home, None, Silent())


def test_what_has_changed_and_what_there_is_not_is_said(found: Explained) -> None:
    why = found.explanation
    nothing = replace(why.runner_up, found=False, network="", latency=None, quality=None)
    bounds = tuple(replace(bound, binds=False) for bound in why.bounds)
    other = replace(
        why, runner_up=nothing, bounds=bounds, best=replace(why.best, network="other"), varied=None
    )

    warned = replace(found.manifest, warnings=("it guesses.",))
    said = replace(found, explanation=other, changed=True, manifest=warned)
    lines = explain_lines(said)

    assert lines == [
        "There is no runner-up: no other network is within the limits.",
        "The model's first choice is another network (other); the build decides by measurement.",
        "Costs have been measured anew since it was built; this is by the new ones.",
        "Warning: it guesses.",
    ]
    assert explain_data(said)["warnings"] == ["it guesses."]
    same = replace(other, best=replace(why.best, network=found.manifest.tried[0].network))
    decided = explain_lines(replace(found, explanation=same))
    assert "No single limit decides: without any one of them the answer would be the same." in (
        decided
    )
    assert prices_table(replace(found, explanation=other)).title == (
        "The price of nothing: there is no limit"
    )


def test_what_was_built_and_does_not_do_is_said_wherever_it_is_offered(found: Explained) -> None:
    why, papers = found.explanation, found.manifest
    rejected = replace(
        papers.tried[0], network="rejected", within_budget=False, measured_upper_us=9190.0
    )
    offer = replace(why.best, network="rejected", quality=0.9)
    explained = replace(
        found,
        manifest=replace(papers, tried=(*papers.tried, rejected)),
        explanation=replace(why, best=offer, runner_up=offer, prices=(offer,)),
    )

    lines = explain_lines(explained)

    said = "rejected: it was built, and is not within the limits (9.19 ms measured)"
    assert any(said in line for line in lines)
    assert any("and 9.19 ms measured, which is not within the limits." in line for line in lines)
    (network,) = prices_table(explained).columns[-1].cells
    assert network == said


def test_a_choice_by_another_score_is_explained_as_what_it_is(found: Explained) -> None:
    choice = Choice("similarity", 1.5, True, None, None, None)
    explained = replace(found, manifest=replace(found.manifest, choice=choice))

    lines = explain_lines(explained)

    said = "It was chosen by similarity; all of this is about the quality that is expected."
    assert said in lines
    assert not any("first choice" in line or "decide" in line for line in lines)


def test_a_build_in_dery_mode_is_explained_too(workshop: "Workshop", tmp_path: Path) -> None:
    home = workshop.copy("home", tmp_path)
    words = ("--mode", "dery", "-k", "2", "--epsilon", "1", "--latency", "3ms")
    built = workshop.run("build", *words, "--candidates", "1", "--out", tmp_path / "o", home=home)

    result = workshop.derycc("explain", tmp_path / "o", "--home", home)

    assert built.exit_code == result.exit_code == 0, result.output
    assert read_manifest(tmp_path / "o").dery is not None
    assert "Runner-up" in result.stdout or "no runner-up" in result.stdout


def test_a_least_quality_is_explained_by_what_more_of_it_takes(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home = workshop.copy("home", tmp_path)
    words = ("--min-quality", "20%", "--memory", "1GB", "--max-donors", "1", "--without",
             "test_efficientnet", "--with", "test_resnet")  # fmt: skip
    built = workshop.run("build", *words, "--out", tmp_path / "o", home=home)

    result = workshop.derycc("explain", tmp_path / "o", "--home", home)

    assert built.exit_code == result.exit_code == 0, built.output + result.output
    assert "The price of quality" in result.stdout
    assert "without test_efficientnet.random" in result.stdout
