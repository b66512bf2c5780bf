"""`derycc sweep`: every budget has its row, whatever became of it, and the exit code says so."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from compiler.verification import Verification, verify
from derycc import building

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop


def test_an_engine_that_fails_ends_its_budget_and_not_the_sweep(
    workshop: "Workshop", monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Verification] = []

    def first_differs(*parts: Any) -> Verification:
        found = verify(*parts)
        checked.append(found if checked else replace(found, repeatable=False))
        return checked[-1]

    monkeypatch.setattr(building, "verify", first_differs)
    budgets = ("--latency", "1.2ms", "--latency", "1us", "--latency", "1.3ms", "--candidates", "1")

    result = workshop.run("sweep", *budgets, "--json")

    first, second, third = json.loads(result.stdout)["points"]
    assert result.exit_code == 5
    assert (first["exit_code"], second["exit_code"]) == (5, 3)
    assert "does not compute what the network computes" in first["refusal"]
    assert third["within_budget"]
