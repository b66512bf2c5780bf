"""Memory is counted by the kernel in steps, a few hundred kB off: tests allow 2 MB."""

import subprocess
import sys
from pathlib import Path

import pytest

from profilers.memory import peak_since, reset_peak

MB = 1_000_000
TOLERANCE = 2 * MB
counted = pytest.mark.skipif(
    reset_peak() is None, reason="needs a kernel that resets the peak of memory"
)


def took(body: str) -> int:
    """Bytes at the peak of some lines of Python, in a process of their own."""
    script = (
        "from profilers.memory import peak_since, reset_peak\n"
        f"before = reset_peak()\n{body}\nprint(peak_since(before))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return int(found.stdout)


@counted
def test_the_peak_is_what_was_held_at_once_and_not_all_that_was_ever_held() -> None:
    held = took("x = bytearray(b'1') * 64_000_000; del x; y = bytearray(b'1') * 32_000_000")

    assert held == pytest.approx(64 * MB, abs=TOLERANCE)


@counted
def test_what_was_freed_before_does_not_count() -> None:
    before = took("x = bytearray(b'1') * 64_000_000; del x; before = reset_peak()")

    assert before <= TOLERANCE


def test_where_peaks_are_not_counted_they_are_unknown(tmp_path: Path) -> None:
    nowhere = tmp_path / "absent"

    assert reset_peak(nowhere) is None
    assert peak_since(None) is None
    assert peak_since(5, nowhere) is None


def test_the_counters_are_in_kibibytes(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\n")

    before = reset_peak(tmp_path)

    assert before == 200 * 1024
    assert peak_since(before, tmp_path) == 100 * 1024
    assert (tmp_path / "clear_refs").read_text() == "5"
