import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from profilers.contention import Load

BEFORE = Load(
    10.0, 1.0, {1: 0.5, 2: 0.0}, idle=100.0, stolen=2.0, processors=4, tick=0.01, counted=400.0
)


def after(own: float, waited: dict[int, float], idle: float | None, stolen: float = 2.0) -> Load:
    """A second after BEFORE; `own` and `idle` are what was added."""
    total = None if idle is None else 100.0 + idle
    return Load(11.0, 1.0 + own, waited, total, stolen, processors=4, tick=0.01, counted=404.0)


def test_alone_on_the_machine_nothing_is_taken() -> None:
    assert BEFORE.contention(after(1.0, {1: 0.5, 2: 0.0}, idle=3.0)) == 0.0


def test_the_thread_that_waited_longest_counts() -> None:
    later = after(1.0, {1: 0.6, 2: 0.3, 3: 0.25}, idle=3.0)

    assert BEFORE.contention(later) == pytest.approx(0.3)


def test_a_thread_that_is_new_waited_from_zero_and_one_that_is_gone_does_not_count() -> None:
    assert BEFORE.contention(after(1.0, {3: 0.25}, idle=3.0)) == pytest.approx(0.25)


def test_a_neighbour_that_makes_nobody_wait_counts_by_its_share_of_all_processors() -> None:
    # Of 4 processor-seconds 1 was idle, 1 was ours, and a tick of each processor is unsure.
    later = after(1.0, {1: 0.5, 2: 0.0}, idle=1.0)

    assert BEFORE.contention(later) == pytest.approx((4 - 1 - 1 - 0.04) / 4)


def test_what_the_host_of_a_virtual_machine_took_counts_by_its_share_of_all_processors() -> None:
    waited = {1: 0.5, 2: 0.0}

    # A tick of each of the 4 processors is unsure.
    assert BEFORE.contention(after(1.0, waited, 3.0, stolen=2.04)) == pytest.approx(0.0)
    assert BEFORE.contention(after(1.0, waited, 3.0, stolen=3.64)) == pytest.approx(0.4)


def test_where_the_ticks_stand_still_only_waiting_is_known() -> None:
    still = replace(BEFORE, clock=11.0, waited={1: 0.6})

    assert BEFORE.contention(still) == pytest.approx(0.1)
    assert BEFORE.contention(replace(still, waited={})) is None


def test_a_share_is_never_above_one() -> None:
    assert BEFORE.contention(after(0.1, {1: 9.0}, idle=3.0)) == 1.0


def test_where_the_system_tells_nothing_contention_is_unknown(tmp_path: Path) -> None:
    silent = Load.now(tmp_path)

    assert (silent.waited, silent.idle) == ({}, None)
    assert silent.contention(Load.now(tmp_path)) is None
    assert BEFORE.contention(BEFORE) is None


def test_without_idle_times_only_waiting_is_known() -> None:
    assert BEFORE.contention(after(1.0, {1: 0.7}, idle=None)) == pytest.approx(0.2)


def test_the_counters_are_read_from_proc(tmp_path: Path) -> None:
    tick = 1 / os.sysconf("SC_CLK_TCK")
    task = tmp_path / "self/task"
    for thread, text in (("7", "5000 2500000000 3"), ("8", "broken")):
        (task / thread).mkdir(parents=True)
        (task / thread / "schedstat").write_text(text)
    each = "5 0 5 100 20 0 0 15"
    (tmp_path / "stat").write_text(
        f"cpu  10 0 10 200 40 0 0 30 0 0\ncpu0 {each}\ncpu1 {each}\nintr 1\n"
    )

    load = Load.now(tmp_path)

    assert load.waited == {7: 2.5}
    assert load.idle == pytest.approx(240 * tick)
    assert load.stolen == pytest.approx(30 * tick)
    assert (load.processors, load.tick) == (2, tick)


@pytest.mark.parametrize("stat", ["cpu", "cpu 1 2", "cpu 1 2 odd 4 5", "\xff\xfe", "", "intr 1"])
def test_lines_that_are_short_or_odd_tell_nothing(tmp_path: Path, stat: str) -> None:
    (tmp_path / "self/task/7").mkdir(parents=True)
    (tmp_path / "self/task/7/schedstat").write_text("1 odd 3")
    (tmp_path / "stat").write_bytes(stat.encode("latin-1"))

    load = Load.now(tmp_path)

    assert (load.waited, load.idle) == ({}, None)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs Linux's schedstat")
def test_a_busy_process_on_the_same_processor_is_noticed() -> None:
    core = min(os.sched_getaffinity(0))
    allowed = os.sched_getaffinity(0)
    spin = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        os.sched_setaffinity(0, {core})
        try:
            before = Load.now()
            end = time.monotonic() + 0.4
            while time.monotonic() < end:
                pass
            share = before.contention(Load.now())
        finally:
            os.sched_setaffinity(0, allowed)
            other.kill()

    assert share is not None and share > 0.2
