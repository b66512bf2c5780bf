import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from profilers.environment import Environment
from profilers.protocol import Protocol
from profilers.store import CostStore, Round
from profilers.store_copy import snapshot
from profilers.store_reading import read_store
from profilers.tables import schema_version
from targets.errors import WorkspaceError

KEEP = Protocol()
GOLDEN = Path(__file__).with_name("store_1.sqlite")


def test_what_a_store_holds_is_read(
    where: str, environment: Environment, round_of_a: Round
) -> None:
    with CostStore(where) as store:
        store.add_round(environment, KEEP, round_of_a)
        shown = store.where

        with read_store(where) as read:
            assert read.measurements(environment) == store.measurements(environment)
            assert read.where == shown


def test_a_store_that_another_writes_is_read_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    CostStore(path).close()

    with closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with read_store(path) as store:
            assert store.environments() == ()


def test_reading_leaves_the_folder_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    CostStore(path).close()
    before = path.read_bytes()

    with read_store(path):
        pass

    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_an_old_store_is_read_and_stays_old(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    path.write_bytes(GOLDEN.read_bytes())

    with read_store(path) as store:
        assert len(store.environments()) == 2

    assert path.read_bytes() == GOLDEN.read_bytes()


def test_a_file_without_a_log_is_copied_where_none_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "archive.sqlite"
    CostStore(path).close()
    connect = sqlite3.connect

    def refuse(file: Any, **options: Any) -> sqlite3.Connection:
        if str(file).startswith("file:") and "immutable" not in str(file):
            raise sqlite3.OperationalError("unable to open database file")
        found: sqlite3.Connection = connect(file, **options)
        return found

    monkeypatch.setattr("profilers.store_copy.sqlite3.connect", refuse)
    copy = snapshot(path, tmp_path)
    monkeypatch.undo()

    with CostStore(copy) as store:
        assert store.environments() == ()


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"

    with pytest.raises(WorkspaceError, match=rf"no cost store at '{path}'"), read_store(path):
        pass

    assert not path.exists()


def test_a_store_of_a_newer_version_is_not_read(where: str) -> None:
    with CostStore(where) as store, store.transaction() as connection:
        connection.execute(update(schema_version).values(version=99))

    with pytest.raises(WorkspaceError, match=r"version 99"), read_store(where):
        pass


@pytest.mark.postgres
def test_a_servers_store_is_read_by_who_may_not_write_it(
    request: pytest.FixtureRequest, environment: Environment, round_of_a: Round
) -> None:
    url = str(request.getfixturevalue("postgres")())
    with CostStore(url) as store:
        store.add_round(environment, KEEP, round_of_a)
    option = "options=-c%20default_transaction_read_only%3Don"

    with read_store(f"{url}{'&' if '?' in url else '?'}{option}") as read:
        assert read.measurements(environment).keys() == {"a"}
