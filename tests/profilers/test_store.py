import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from profilers.environment import Environment
from profilers.protocol import Protocol
from profilers.store import CostStore, Round, RoundsDone
from profilers.tables import rounds
from targets.errors import UsageError, WorkspaceError

ROOT = Path(__file__).parents[2]
KEEP = Protocol()

WRITER = """
import sys
from backends.reference import ReferenceBackend
from profilers.environment import Environment
from profilers.protocol import Protocol
from profilers.store import CostStore, Round
from targets.target import get_target

environment = Environment.capture(get_target("reference"), ReferenceBackend())
with CostStore(sys.argv[1]) as store:
    print("open", flush=True)
    sys.stdin.readline()
    for index in range(40):
        store.add_round(environment, Protocol(), Round(sys.argv[2], "mine", index, (1.0,), 0.1))
        store.add_round(environment, Protocol(), Round("shared", "both", index, (2.0,), 0.1))
"""


@pytest.fixture
def store(where: str) -> Iterator[CostStore]:
    """In each kind of database: what is tested with it is the contract of all of them."""
    with CostStore(where) as store:
        yield store


def test_what_was_added_is_measured(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    assert store.add_round(environment, KEEP, round_of_a)
    assert store.add_round(environment, KEEP, replace(round_of_a, index=1, samples=(5e-3,)))

    found = store.measurements(environment, ["a", "b"])

    assert list(found) == ["a"]
    assert found["a"].name == "block a"
    assert found["a"].rounds == ((1e-3, 2e-3, 3e-3), (5e-3,))
    assert found["a"].load_seconds == (0.5, 0.5)
    assert not found["a"].capped


def test_adding_a_round_again_changes_nothing(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    store.add_round(environment, KEEP, round_of_a)

    assert not store.add_round(environment, KEEP, replace(round_of_a, samples=(9.0,)))
    assert store.measurements(environment)["a"].rounds == ((1e-3, 2e-3, 3e-3),)


def test_a_round_that_the_database_refuses_is_an_error(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    nothing: Any = None

    with pytest.raises(WorkspaceError, match=r"(?i)not.null.*load_seconds|load_seconds.*not.null"):
        store.add_round(environment, KEEP, replace(round_of_a, load_seconds=nothing))

    assert store.environments() == ()


def test_a_store_that_is_opened_again_has_what_was_added(
    tmp_path: Path, environment: Environment, round_of_a: Round
) -> None:
    path = tmp_path / "deep" / "folder" / "costs.sqlite"
    with CostStore(path) as store:
        store.add_round(environment, KEEP, round_of_a)

    with CostStore(f"sqlite:///{path}") as again:
        assert again.measurements(environment).keys() == {"a"}
        assert again.environments() == (environment,)


def test_environments_are_kept_apart(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    other = replace(environment, threads=8)
    store.add_round(environment, KEEP, round_of_a)
    store.add_round(other, KEEP, replace(round_of_a, samples=(7.0,)))

    assert store.measurements(environment)["a"].rounds == ((1e-3, 2e-3, 3e-3),)
    assert store.measurements(other)["a"].rounds == ((7.0,),)
    assert set(store.environments()) == {environment, other}


def test_without_a_protocol_the_last_one_counts(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    store.add_round(environment, KEEP, round_of_a)
    store.add_round(environment, Protocol.quick(), replace(round_of_a, samples=(7.0,)))

    assert store.measurements(environment)["a"].rounds == ((7.0,),)
    assert store.measurements(environment, protocol=KEEP)["a"].rounds == ((1e-3, 2e-3, 3e-3),)
    assert store.measurements(environment, ["a"], Protocol(seed=9)) == {}


def test_an_older_generation_is_kept_but_not_used(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    store.add_round(environment, KEEP, replace(round_of_a, capped=True))
    store.add_round(environment, KEEP, replace(round_of_a, index=1, capped=True))
    store.add_round(environment, KEEP, replace(round_of_a, index=2, generation=1, samples=(4.0,)))

    assert store.measurements(environment)["a"].rounds == ((4.0,),)
    assert not store.measurements(environment)["a"].capped
    assert store.rounds_done(environment, KEEP, ["a", "b"]) == {"a": RoundsDone(1, 1, 3)}


def test_memory_energy_and_contention_are_kept_round_by_round(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    first = replace(round_of_a, peak_bytes=5_000_000_000, joules=0.5, contention=0.01)
    second = replace(round_of_a, index=1, peak_bytes=7_000_000_000, joules=0.25)
    for done in (first, second, replace(round_of_a, index=2, joules=0.3, contention=0.2)):
        store.add_round(environment, KEEP, done)

    found = store.measurements(environment)["a"]

    assert (found.peak_bytes, found.joules, found.contention) == (7_000_000_000, 0.3, 0.2)


def test_what_no_round_knows_is_not_known(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    store.add_round(environment, KEEP, round_of_a)

    found = store.measurements(environment)["a"]

    assert (found.peak_bytes, found.joules, found.contention) == (None, None, None)


def test_a_round_of_a_new_generation_is_kept_even_if_its_index_was_taken_meanwhile(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    store.add_round(environment, KEEP, round_of_a)
    fresh = replace(round_of_a, generation=1, samples=(4.0,))

    assert store.add_round(environment, KEEP, fresh)
    assert store.measurements(environment)["a"].rounds == ((4.0,),)
    assert store.rounds_done(environment, KEEP, ["a"]) == {"a": RoundsDone(1, 1, 2)}


def test_thousands_of_models_can_be_asked_for_at_once(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    store.add_round(environment, KEEP, round_of_a)
    keys = [*(f"k{number}" for number in range(2000)), "a"]

    assert store.measurements(environment, keys).keys() == {"a"}
    assert store.rounds_done(environment, KEEP, keys) == {"a": RoundsDone(0, 1, 1)}


def test_a_round_in_which_the_sentinel_was_slower_throughout_is_rescaled(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    for index, (session, speed) in enumerate([("one", 1.0), ("two", 1.0), ("slow", 1.1)]):
        for _ in range(3):
            store.add_sentinel(environment, KEEP, session, (speed, speed))
        done = replace(round_of_a, index=index, session=session, samples=(speed,))
        store.add_round(environment, KEEP, done)

    found = store.measurements(environment)["a"]

    assert found.scales == (1.0, 1.0, pytest.approx(1 / 1.1))
    assert found.rounds == ((1.0,), (1.0,), (1.1,))
    assert found.raw.interval_us[1] > 1e6
    assert found.interval_us == pytest.approx((1e6, 1e6))


@pytest.mark.parametrize("speeds", [(1.01, 1.015, 1.01), (2.0, 1.0, 0.5), (1.3, 1.3, 1.3)])
def test_a_sentinel_that_is_close_unsteady_or_far_off_rescales_nothing(
    store: CostStore, environment: Environment, round_of_a: Round, speeds: tuple[float, ...]
) -> None:
    sessions = {"one": speeds, "steady": (1.0, 1.0, 1.0), "steady too": (1.0, 1.0, 1.0)}
    for session, seconds in sessions.items():
        for speed in seconds:
            store.add_sentinel(environment, KEEP, session, (speed,))
        key = "a" if session == "one" else session
        store.add_round(environment, KEEP, replace(round_of_a, key=key, session=session))

    found = store.measurements(environment)["a"]

    assert found.scales == ()
    assert found.drift == (pytest.approx(0.3) if speeds == (1.3, 1.3, 1.3) else None)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations([(key, index) for key in "ab" for index in range(2)] * 2))
def test_rounds_may_arrive_in_any_order_and_more_than_once(
    tmp_path_factory: pytest.TempPathFactory,
    environment: Environment,
    order: list[tuple[str, int]],
) -> None:
    with CostStore(tmp_path_factory.mktemp("store") / "costs.sqlite") as store:
        for key, index in order:
            store.add_round(environment, KEEP, Round(key, key, index, (1.0 + index,), 0.1))

        found = store.measurements(environment)
        done = store.rounds_done(environment, KEEP, "ab")

    assert {key: sorted(cost.rounds) for key, cost in found.items()} == {
        "a": [(1.0,), (2.0,)],
        "b": [(1.0,), (2.0,)],
    }
    assert done == {"a": RoundsDone(0, 2, 2), "b": RoundsDone(0, 2, 2)}


def test_two_processes_write_to_one_store(where: str, environment: Environment) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, where, key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        for key in ("left", "right")
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == b"open\n"
    codes = []
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
        codes.append(writer.returncode)

    with CostStore(where) as store:
        done = store.rounds_done(environment, KEEP, ["left", "right", "shared"])

    assert codes == [0, 0]
    assert done == dict.fromkeys(["left", "right", "shared"], RoundsDone(0, 40, 40))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(WorkspaceError, match=r"Cannot use the cost store .*Name another store by"):
        CostStore(tmp_path / "file" / "costs.sqlite")


def test_a_store_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"it is a folder. Name the file in it"):
        CostStore(tmp_path)


def test_a_read_only_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    CostStore(path).close()

    with pytest.raises(WorkspaceError, match=r"readonly database.*can be written"):
        CostStore(f"sqlite:///file:{path}?mode=ro&uri=true")


def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    path.write_bytes(b"this is no database" * 100)

    with pytest.raises(WorkspaceError, match=r"file is not a database.*Name a store of derycc"):
        CostStore(path)

    assert path.read_bytes() == b"this is no database" * 100


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    CostStore(path).close()
    database = sqlite3.connect(path)
    database.execute("UPDATE schema_version SET version = 99")
    database.commit()
    database.close()

    with pytest.raises(WorkspaceError, match=r"its schema is version 99, .* knows up to 2"):
        CostStore(path)


def test_a_database_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE songs (title TEXT)")
    database.commit()

    with pytest.raises(WorkspaceError, match=r"it holds other tables \(songs\)"):
        CostStore(path)

    tables = database.execute("SELECT name FROM sqlite_master").fetchall()
    database.close()
    assert tables == [("songs",)]


def test_a_store_that_must_be_there_is_not_made(where: str) -> None:
    with pytest.raises(WorkspaceError, match=r"There is no cost store|it is empty"):
        CostStore(where, create=False)

    assert not Path(where).exists()


def test_a_store_that_must_be_there_is_opened(where: str) -> None:
    CostStore(where).close()

    with CostStore(where, create=False) as store:
        assert store.environments() == ()


def test_a_dry_transaction_leaves_nothing(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    store.add_round(environment, KEEP, round_of_a)

    with store.transaction(dry=True) as connection:
        connection.execute(delete(rounds))

    assert store.measurements(environment).keys() == {"a"}


@pytest.mark.parametrize(
    "url", ["nothing://", "no_such_database://host/name", "://", "postgresql://host:no-port/name"]
)
def test_a_url_of_no_known_database_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"Cannot open the cost store"):
        CostStore(url)


def test_a_store_that_is_damaged_while_open_is_a_workspace_error(
    tmp_path: Path, environment: Environment, round_of_a: Round
) -> None:
    path = tmp_path / "costs.sqlite"
    with CostStore(path) as store:
        database = sqlite3.connect(path)
        database.execute("DROP TABLE rounds")
        database.commit()
        database.close()

        with pytest.raises(WorkspaceError, match=r"no such table: rounds"):
            store.add_round(environment, KEEP, round_of_a)


@pytest.mark.parametrize(
    "url",
    [
        "no_such_database://ada:secret@host/name",
        "postgresql://ada:secret@host:no-port/name",
        "postgresql://ada:sec/ret@host/name?password=secret",
        "postgresql://ada:secret@/name?host=/no/such/folder&password=secret",
    ],
)
def test_a_password_in_a_url_is_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        CostStore(url)

    assert "ada:***@" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "ret@" not in str(caught.value)


def test_a_server_that_does_not_answer_is_a_workspace_error() -> None:
    with pytest.raises(WorkspaceError, match=r"Cannot use the cost store 'postgresql://ada@/x"):
        CostStore("postgresql://ada@/x?host=/no/such/folder")
