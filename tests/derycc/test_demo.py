"""The demo: the commands that it announces are those that it runs."""

import inspect
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer
from typer.main import get_command

from derycc import demo as steps
from derycc.app import app

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

STEPS = ("zoo_fetch", "zoo_list", "profile", "sweep", "build")
COMMANDS = {step: getattr(steps, step) for step in STEPS}


def test_every_step_is_announced_and_run(
    workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[str] = []
    given: dict[str, object] = {}

    def record(step: str, *folders: Path, **options: object) -> None:
        assert folders == (tmp_path,), "options are named: their order is not the steps' business"
        inspect.signature(COMMANDS[step]).bind(*folders, **options)
        run.append(step)
        given.update(options)

    for step in STEPS:
        monkeypatch.setattr(steps, step, partial(record, step))

    result = workshop.derycc("demo", "--home", tmp_path, "--target", "reference")

    announced = [line for line in result.stdout.splitlines() if line.startswith("$ derycc ")]
    names = [line.split()[2] for line in announced]
    assert result.exit_code == 0
    assert tuple(run) == STEPS
    assert given == {"target": "reference", "size": [224], "latency": steps.LATENCY}
    assert names == ["zoo", "zoo", "profile", "sweep", "build"]
    for line in announced:
        root = get_command(app)
        name, *words = shlex.split(line)[2:]
        command = root.commands[name]  # type: ignore[attr-defined]
        command.make_context(name, words, resilient_parsing=False)


def test_a_step_that_fails_ends_the_demo_with_its_code(
    workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise typer.Exit(7)

    monkeypatch.setattr(steps, "zoo_fetch", fail)

    assert workshop.derycc("demo", "--home", tmp_path).exit_code == 7
