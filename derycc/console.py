"""What people see: progress bars with time left, tables, and errors of one paragraph."""

import sys
import time
from collections.abc import Collection, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.table import Table

Row = Sequence[str]


def stdout() -> Console:
    """The console that results go to; wide enough not to break tables where nobody watches."""
    return Console(width=None if sys.stdout.isatty() else 140, highlight=False, soft_wrap=True)


def stderr() -> Console:
    """The console that progress and errors go to."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Row]) -> Table:
    """A plain table.

    Columns whose heading begins with `>` hold numbers: they are set flush right and not broken, as
    those that begin with `!` are not.
    """
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for heading in columns:
        made.add_column(
            heading.lstrip(">!"),
            justify="right" if heading.startswith(">") else "left",
            overflow="fold",
            no_wrap=heading.startswith((">", "!")),
        )
    for row in rows:
        made.add_row(*map(escape, row))
    return made


def without(
    columns: Sequence[str], rows: Sequence[Row], unwanted: Collection[str]
) -> tuple[list[str], list[Row]]:
    """A table's columns and rows without some columns, for screens that have no room for them."""
    kept = [i for i, heading in enumerate(columns) if heading not in unwanted]
    return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]


def filled(columns: Sequence[str], rows: Sequence[Row]) -> tuple[list[str], list[Row]]:
    """A table's columns and rows without the columns that say nothing in any row."""
    cells = ({row[i] for row in rows} for i in range(len(columns)))
    empty = [c for c, found in zip(columns, cells, strict=True) if rows and found <= {"", "-"}]
    return without(columns, rows, empty)


_drawing: list["Bars"] = []


def close_bars() -> None:
    """Take away what is still drawn, and show the cursor again; for whoever leaves early."""
    while _drawing:
        _drawing[-1].close()


class Bars:
    """Draws one bar a phase on a terminal; elsewhere says when a phase begins and ends."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = stderr()
        self._quiet = quiet
        self._drawn = self._console.is_terminal and not quiet
        self._phase = ""
        self._began = 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def start(self, phase: str, total: int | None) -> None:
        """Begin a phase; one that was not finished is closed first."""
        self.close()
        self._phase, self._began = phase, time.monotonic()
        if self._drawn:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                Remaining(),
                TextColumn("[dim]{task.fields[note]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(phase, total=total, note="")
            self._bar.start()
            _drawing.append(self)
        elif not self._quiet:
            steps = "" if total is None else f" ({total} steps)"
            self._console.print(f"{phase}{steps} ...", markup=False)

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, note=note[:60], total=total)

    def finish(self, summary: str = "") -> None:
        """End the phase with one line that stays."""
        self.close()
        if not self._quiet:
            seconds = time.monotonic() - self._began
            self._console.print(f"{summary or self._phase}: {seconds:.1f} s", markup=False)

    def close(self) -> None:
        """Take the bar away, if one is drawn."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            _drawing.remove(self)


def milliseconds(us: float | None) -> str:
    """`9.71 ms` from microseconds, a dash from None."""
    return "-" if us is None else f"{us / 1000:.2f} ms"


def percent(share: float | None) -> str:
    """`88.6 %` from a share, a dash from None."""
    return "-" if share is None else f"{100 * share:.1f} %"
