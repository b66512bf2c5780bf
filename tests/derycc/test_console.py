"""The console: bars on a terminal, lines elsewhere, nothing where nobody wants it."""

import io

import pytest
from rich.console import Console

from derycc.console import Bars, milliseconds, percent, table


def draw(monkeypatch: pytest.MonkeyPatch, terminal: bool, quiet: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100, highlight=False)
    monkeypatch.setattr("derycc.console.stderr", lambda: console)
    bars = Bars(quiet)
    bars.start("first", None)
    bars.start("second [of two]", 3)
    bars.update(2, "a note")
    bars.finish("all [bold]done[/bold]")
    return stream.getvalue()


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    said = draw(monkeypatch, terminal=True)

    assert "second" in said
    assert "all [bold]done[/bold]: 0.0 s" in said


def test_a_file_gets_one_line_when_a_phase_begins_and_one_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = draw(monkeypatch, terminal=False)

    assert said == "first ...\nsecond [of two] (3 steps) ...\nall [bold]done[/bold]: 0.0 s\n"


def test_a_program_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert draw(monkeypatch, terminal=True, quiet=True) == ""


def test_long_cells_are_folded_and_never_cut_off() -> None:
    console = Console(width=30)
    with console.capture() as captured:
        console.print(table("T", ("name", ">n"), [("x" * 60, "[1]")]))

    assert captured.get().count("x") == 60
    assert "[1]" in captured.get()


def test_numbers_have_units() -> None:
    assert (milliseconds(9714.0), percent(0.886), percent(None)) == ("9.71 ms", "88.6 %", "-")
