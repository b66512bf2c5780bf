"""Options: every one is explained, and errors become one paragraph and an exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import typer
from typer.main import get_command

from derycc.app import app
from derycc.options import default_home, frame, print_json
from targets.errors import DeryccError, InfeasibleError, VerificationError

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    found = getattr(command, "commands", None)
    if found is None:
        yield path.strip(), command
        return
    for name, inner in found.items():
        yield from leaves(inner, f"{path} {name}")


COMMANDS = dict(leaves(get_command(app)))


def test_these_are_the_commands() -> None:
    assert sorted(COMMANDS) == [
        "bench",
        "build",
        "demo",
        "doctor",
        "explain",
        "export",
        "front",
        "judge",
        "partition",
        "predict",
        "profile",
        "recipe check",
        "recipe list",
        "solve",
        "store check",
        "store export",
        "store gc",
        "store import",
        "store list",
        "store merge",
        "store show",
        "sweep",
        "targets add",
        "targets detect",
        "targets list",
        "targets remove",
        "targets show",
        "verify",
        "zoo fetch",
        "zoo list",
        "zoo show",
    ]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_every_option_is_explained(workshop: "Workshop", name: str) -> None:
    command = COMMANDS[name]

    result = workshop.derycc(*name.split(), "--help")

    assert result.exit_code == 0
    assert command.help
    assert command.help.endswith(".")
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name}"
        assert parameter.opts[0][:12] in result.output


def test_the_help_of_all_names_the_exit_codes(workshop: "Workshop") -> None:
    result = workshop.derycc("--help")

    said = " ".join(result.output.split())
    assert "0 done; 2 usage, or no answer in the solver's time; 3 infeasible" in said
    assert "130 interrupted" in said


def test_the_home_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_home() == Path(".derycc")

    monkeypatch.setenv("DERYCC_HOME", "elsewhere")

    assert default_home() == Path("elsewhere")


@pytest.mark.parametrize("error", [InfeasibleError("No."), VerificationError("No.")])
def test_an_error_becomes_its_exit_code(
    error: DeryccError, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as left, frame():
        raise error

    assert left.value.exit_code == error.exit_code
    assert capsys.readouterr() == ("", "derycc: No.\n")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), frame():
        1 / 0  # noqa: B018  # this is the bug


def test_numbers_that_json_does_not_have_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"nan": float("nan"), "infinite": (1.5, float("inf"))})

    assert json.loads(capsys.readouterr().out) == {"nan": None, "infinite": [1.5, None]}


def test_a_reader_that_leaves_early_is_no_traceback(workshop: "Workshop", tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "derycc", "targets", "list"],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=workshop.environ(),
        check=False,
        timeout=60,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, b"")


def test_a_process_prints_json_alone(workshop: "Workshop", tmp_path: Path) -> None:
    done = workshop.process("targets", "list", "--json", cwd=tmp_path)

    assert done.returncode == 0
    assert [target["name"] for target in json.loads(done.stdout)] == ["cpu", "cuda", "reference"]
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_imports_no_framework(workshop: "Workshop", tmp_path: Path) -> None:
    heavy = "{'torch', 'timm', 'onnxruntime', 'ortools', 'scipy', 'sqlalchemy'}"
    code = f"import sys, derycc.app; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=workshop.environ(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"
