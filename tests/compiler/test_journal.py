"""Journal: what was noted is read back; what cannot be read is begun anew."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from compiler.assembly import Assembly
from compiler.candidates import Latencies
from compiler.journal import Journal, Kept, unwritten
from profilers.measurement import Measurement

ANSWER = Assembly(
    "optimal", ("a", "b"), 0.1 + 0.2, 0.3, 0.0, (("latency_us", 1 / 3),), 0.5, "solver", 7
)
NOTHING = Assembly("infeasible", (), None, None, None, (), 0.1, "solver", 7)
ONE = Measurement("key", "name", ((1e-3 / 3, 2e-3), (1e-3,)), (0.0, 0.1), True, (1.0, 1.1))
MEASURED = Latencies(ONE, (("other", ONE),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "journal.json"


def test_what_was_noted_is_read_back_equal(path: Path) -> None:
    first = Journal(path)
    first.answers("", lambda: (ANSWER, NOTHING))
    first.keep("whole", Kept(MEASURED, 1.5, True))
    first.keep("stitched", Kept(MEASURED, 2.5, False))
    first.withdraw("whole", MEASURED)

    found = Journal(path)

    assert found.answers("", lambda: pytest.fail("asked twice")) == (ANSWER, NOTHING)
    assert found.kept("stitched") == Kept(MEASURED, 2.5, False)
    assert found.kept("another") is None
    assert (found.withdrawn("whole"), found.withdrawn("stitched")) == (MEASURED, None)
    assert (found.candidates, found.seconds) == (1, (1.5, 2.5))


def test_an_answer_without_proof_is_asked_for_again_with_more_time_alone(path: Path) -> None:
    unproven = replace(ANSWER, status="feasible", bound=1.0, gap=0.7)
    Journal(path).answers("", lambda: (ANSWER, unproven), 5.0)

    same = Journal(path).answers("", lambda: pytest.fail("asked twice"), 5.0)
    more = Journal(path).answers("", lambda: (ANSWER,), 6.0)
    proven = Journal(path).answers("", lambda: pytest.fail("asked again"), 60.0)

    assert same == (ANSWER, unproven)
    assert more == proven == (ANSWER,)


def test_answers_that_an_older_derycc_noted_are_read(path: Path) -> None:
    Journal(path).answers("", lambda: (ANSWER,))
    content = json.loads(path.read_text())
    del content["unproven"]
    path.write_text(json.dumps(content))

    assert Journal(path).answers("", lambda: pytest.fail("asked twice")) == (ANSWER,)


def test_two_searches_for_the_same_keep_each_other_s_notes(path: Path) -> None:
    unproven = replace(ANSWER, status="feasible", bound=1.0, gap=0.7)
    one, two = Journal(path), Journal(path)

    one.keep("a", Kept(MEASURED, 1.0, False))
    one.answers("first", lambda: (ANSWER,), 60.0)
    two.keep("b", Kept(MEASURED, 2.0, True))
    two.answers("first", lambda: (unproven,), 5.0)
    two.answers("second", lambda: (unproven,), 5.0)
    one.answers("second", lambda: (replace(unproven, bound=0.9),), 60.0)
    one.withdraw("a", MEASURED)

    found = Journal(path)
    assert found.seconds == (2.0, 1.0) or found.seconds == (1.0, 2.0)
    assert found.answers("first", lambda: pytest.fail("was proven"), 60.0) == (ANSWER,)
    assert found.answers("second", lambda: (NOTHING,), 60.0)[0].bound == 0.9
    assert found.withdrawn("a") == MEASURED
    assert two.kept("a") is None


def test_a_quiet_measurement_is_not_replaced_by_a_noisy_one(path: Path) -> None:
    quiet = Latencies(
        replace(ONE, rounds=((1e-3,) * 40,) * 3, load_seconds=(0.0,), capped=False, scales=())
    )
    noisy = Latencies(ONE)
    one, two = Journal(path), Journal(path)

    one.keep("a", Kept(quiet, 1.0, False))
    two.keep("a", Kept(noisy, 2.0, False))

    assert (quiet.noisy, noisy.noisy) == (False, True)
    assert Journal(path).seconds == (1.0,)
    assert two.seconds == (2.0,)


def test_searches_that_write_at_once_lose_nothing(path: Path) -> None:
    def note(first: int) -> None:
        journal = Journal(path)
        together.wait()
        for number in range(first, first + 20):
            journal.keep(str(number), Kept(MEASURED, 1.0, False))

    together = Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(note, (0, 20)))

    assert len(Journal(path).seconds) == 40


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"format": "derycc.search/9"}',
        b'{"kept": {"a": {"measured": {}}}}',
        b'{"kept": {"a": {"measured": {"here": {"key": "k", "name": "n", "rounds": [],'
        b' "load_seconds": [], "capped": false}}, "seconds": 1, "whole_donor": false}}}',
    ],
)
def test_what_cannot_be_read_is_begun_anew(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    journal = Journal(path)
    journal.keep("a", Kept(MEASURED, 1.0, False))

    assert Journal(path).seconds == (1.0,)


def test_a_search_without_an_answer_is_forgotten(path: Path) -> None:
    journal = Journal(path)
    journal.keep("a", Kept(MEASURED, 1.0, False))

    journal.forget()
    journal.forget()

    assert not path.exists()
    assert journal.kept("a") is None


def test_without_a_path_nothing_is_written(tmp_path: Path) -> None:
    journal = unwritten("asked")
    journal.keep("a", Kept(MEASURED, 1.0, False))

    assert journal.kept("a") is not None
    assert list(tmp_path.iterdir()) == []
    journal.forget()
