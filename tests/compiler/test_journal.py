"""Journal: what was noted is read back; what cannot be read is begun anew."""

import json
from dataclasses import replace
from pathlib import Path

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
