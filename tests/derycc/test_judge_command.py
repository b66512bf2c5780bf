"""`derycc judge`: networks of one stitch are judged, told, and believed by the next build."""

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from compiler.drop_model import TERMS, DropModel
from compiler.progress import Silent
from derycc.explaining import drops_of
from derycc.manifest_asked import Beliefs
from derycc.session import open_workbench
from targets.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.derycc.conftest import Workshop


@pytest.fixture(scope="module")
def home(workshop: "Workshop", tmp_path_factory: pytest.TempPathFactory) -> "Path":
    return workshop.copy("home", tmp_path_factory.mktemp("judge"))


def test_networks_are_judged_and_builds_start_from_them(workshop: "Workshop", home: "Path") -> None:
    result = workshop.run("judge", "--networks", "6", "--views", "1", home=home)

    assert result.exit_code == 0, result.output
    assert "Networks of one stitch, really judged" in result.stdout
    assert "Fitted to one half of the networks, tried on the other" in result.stdout
    assert (
        "The drop model is fitted to 6 networks judged in this home; each of them, left out "
        in (result.stdout)
    )
    with open_workbench(workshop.options(home), Silent()) as bench:
        assert bench.belief().drops.observations == 6


def test_json_tells_all_and_the_same_again(workshop: "Workshop", home: "Path") -> None:
    first, again = (
        workshop.run("judge", "--networks", "6", "--views", "1", "--json", home=home)
        for _ in range(2)
    )

    found = json.loads(first.stdout)
    assert first.stdout == again.stdout
    assert len(found["networks"]) == 6
    assert [one["name"] for one in found["held_out"]] == [
        "model",
        "constant",
        "residual",
        "similarity",
    ]
    assert found["model"]["observations"] == 6
    assert found["score"] == "agreement"
    for one in found["networks"]:
        assert one["drop"] == pytest.approx(one["promised"] - one["measured"])


def test_a_few_networks_are_judged_without_holding_any_out(
    workshop: "Workshop", home: "Path"
) -> None:
    result = workshop.run("judge", "--networks", "2", "--views", "1", home=home)

    assert result.exit_code == 0, result.output
    assert "Too few networks to hold half of them out: judge at least 6" in result.stdout
    assert "Fitted to one half" not in result.stdout


def test_a_dry_run_says_what_would_be_judged(workshop: "Workshop", home: "Path") -> None:
    before = workshop.content(home)

    result = workshop.run("judge", "--networks", "9", "--dry-run", home=home)

    assert result.exit_code == 0, result.output
    assert "Would build and judge 9 networks of one stitch, a stratified sample" in result.stdout
    assert workshop.content(home) == before


def test_a_slope_of_an_older_build_is_still_read() -> None:
    old = Beliefs(0.5, 3, 1.0, 2.0, {})

    assert drops_of(old) == replace(DropModel.of_slope(0.5), observations=3)


def test_weights_are_read_by_name_and_unknown_terms_refused() -> None:
    weights = {name: 0.125 * i for i, name in enumerate(TERMS)}
    told = Beliefs(None, 3, 1.0, 2.0, {}, drop_weights=weights, drop_error=0.0625)
    turned = dict(reversed(weights.items()))

    assert drops_of(told).named == weights
    assert drops_of(Beliefs(**{**asdict(told), "drop_weights": turned})) == drops_of(told)
    with pytest.raises(UsageError, match="were told by other terms than this derycc knows"):
        drops_of(Beliefs(**{**asdict(told), "drop_weights": {"mood": 1.0}}))
