"""Options in groups: a dataclass in the code, one option a field on the command line."""

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from derycc.grouped_options import Bench, Constraints, grouped
from targets.budget import Budget
from targets.errors import UsageError


@dataclass(frozen=True)
class Colours:
    ink: Annotated[str, typer.Option("--ink")]
    papers: Annotated[list[str] | None, typer.Option("--paper")] = None


@grouped
def draw(colours: Colours, times: Annotated[int, typer.Option("--times")] = 1) -> None:
    """Draws."""
    typer.echo(f"{colours.ink} on {colours.papers} x {times}")


def run(*words: str) -> str:
    app = typer.Typer()
    app.command()(draw)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_group_is_one_option_a_field() -> None:
    assert list(signature(draw).parameters) == ["ink", "papers", "times"]
    assert run("--ink", "red", "--paper", "a", "--paper", "b") == "red on ['a', 'b'] x 1\n"
    assert run("--ink", "red", "--times", "2").startswith("red on ")
    assert draw.__doc__ == "Draws."


def test_a_command_may_be_called_as_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    draw("blue", times=3)

    assert capsys.readouterr().out == "blue on None x 3\n"


def test_the_bench_becomes_the_options_of_a_session() -> None:
    options = Bench(Path("home"), "reference", size=[64], views=3, store="s").options()

    assert (options.home, options.target, options.sizes) == (Path("home"), "reference", (64,))
    assert (options.views, options.quick, options.store) == (3, False, "s")


def test_constraints_become_a_budget_of_plain_numbers() -> None:
    asked = Constraints("5M", "400M", "50MB", "20MiB", "50mJ", 2, ["a", "a"], ["b"], ["GPL"], "80%")

    budget = asked.budget(1)

    assert budget == Budget(
        stitches=1,
        params=5_000_000,
        macs=400_000_000,
        weight_bytes=20_971_520,
        memory_bytes=50_000_000,
        energy_j=0.05,
        donors=2,
        min_quality=0.8,
        required=("a",),
        excluded=("b",),
    )
    assert type(budget.params) is type(budget.memory_bytes) is int
    assert asked.licences == ("GPL",)
    assert asked.given == (
        "--params", "--macs", "--memory", "--weight-memory", "--energy", "--max-donors", "--with",
        "--without", "--exclude-licence", "--min-quality",
    )  # fmt: skip


def test_no_constraints_limit_nothing_but_stitches() -> None:
    assert Constraints().budget(2) == Budget(stitches=2)
    assert Constraints().given == ()


def test_a_constraint_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(UsageError, match="Cannot read 'much' as an energy"):
        Constraints(energy="much").budget(2)
