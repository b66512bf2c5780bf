import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from derycc import __version__
from derycc.app import app
from derycc.cli import main


def test_the_version_is_one_line() -> None:
    result = CliRunner().invoke(app, ["--version"])

    assert result.exit_code == 0
    assert result.output == f"derycc {__version__}\n"


def test_doctor_prints_text_for_a_reader() -> None:
    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == 0
    assert result.output.endswith("No problem found.\n")


def test_doctor_prints_json_for_a_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DERYCC_HOME", str(tmp_path))

    result = CliRunner().invoke(app, ["doctor", "--json"])

    found = json.loads(result.output)
    assert found["home"] == str(tmp_path)
    assert found["problems"] == []


def test_an_interrupt_while_the_command_line_is_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupts:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "derycc.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "derycc.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupts(), *sys.meta_path])

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 130
    assert capsys.readouterr().err.startswith("derycc: Interrupted. Whatever was measured is kept")


def test_the_process_ends_with_the_code_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["derycc", "--no-such-option"])

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 2
