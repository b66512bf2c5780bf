import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import MetaData, create_engine, insert, select

from profilers.database import connect, database_url
from profilers.measurement import Measurement
from profilers.migration import upgrade
from profilers.protocol import Protocol
from profilers.store import CostStore, Round, RoundsDone
from profilers.tables import METADATA, SCHEMA, rounds, schema_version, sentinels
from targets.errors import WorkspaceError

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("store_1.sqlite")
"""A store that the derycc of schema 1 wrote: two environments that differ in the target's name and
precisions alone, and one of another number of threads."""

OPENER = """
import sys
from profilers.store import CostStore
print("ready", flush=True)
sys.stdin.readline()
with CostStore(sys.argv[1]) as store:
    print(len(store.environments()))
"""


def laid_out(where: str) -> None:
    """Puts the golden store at a place, whatever database it is in."""
    if "://" not in where:
        shutil.copyfile(GOLDEN, where)
        return
    golden, there = create_engine(f"sqlite:///{GOLDEN}"), connect(database_url(where))
    tables = MetaData()
    tables.reflect(golden)
    with golden.connect() as source, there.begin() as target:
        upgrade(target, 0, to=1)
        target.exec_driver_sql("DROP TABLE alembic_version")  # schema 1 had none
        target.exec_driver_sql("DELETE FROM schema_version")
        for table in tables.sorted_tables:
            columns = [column for column in table.c if column.name != "id"]
            rows = [row._asdict() for row in source.execute(select(*columns))]
            target.execute(insert(table), rows)
    golden.dispose()
    there.dispose()


class _AsThen(Protocol):
    """The protocol of the old store's rounds, as it was identified then."""

    @property
    def digest(self) -> str:
        return "96798eb2c8faad70"


AS_THEN = _AsThen()


def dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return list(database.iterdump())


def test_a_store_of_schema_1_is_brought_up_to_date(where: str) -> None:
    laid_out(where)

    with CostStore(where) as store:
        two, one = store.environments()
        found = store.measurements(two, protocol=AS_THEN)
        done = store.rounds_done(two, AS_THEN, "abc")
        alone = store.measurements(one)

    assert (two.fingerprint, two.target, two.threads) == ("c755e0234a611657", "cpu:threads=2", 2)
    assert (one.fingerprint, one.target, one.threads) == ("b483e163af860084", "cpu:threads=1", 1)
    assert found == {
        "a": Measurement("a", "block a", ((1.75e-3,),), (0.5,), False),
        "b": Measurement("b", "block b", ((4e-3,),), (0.5,), False),
        "c": Measurement("c", "block c", ((5e-3,),), (0.5,), False),
    }
    assert done == {"a": RoundsDone(1, 1, 4), "b": RoundsDone(0, 1, 1), "c": RoundsDone(0, 1, 1)}
    assert alone == {"a": Measurement("a", "block a", ((9e-3,),), (0.5,), False)}


def test_no_round_and_no_sentinel_is_lost(where: str) -> None:
    laid_out(where)

    with CostStore(where) as store, store.transaction() as connection:
        series = [rounds.c.environment, rounds.c.key, rounds.c.index, rounds.c.samples]
        normal = rounds.c.protocol == AS_THEN.digest
        kept = connection.execute(select(*series).where(normal).order_by(rounds.c.id)).all()
        quick = connection.execute(select(*series).where(~normal)).all()
        beside = Counter(connection.scalars(select(sentinels.c.environment)))
        version = connection.scalar(select(schema_version.c.version))

    united, alone = "c755e0234a611657", "b483e163af860084"
    assert kept == [
        (united, "a", 0, [0.001, 0.002, 0.003]),
        (united, "a", 1, [0.0015, 0.0025]),
        (united, "b", 0, [0.004]),
        (united, "a", 2, [0.00125, 0.00225]),
        (united, "a", 3, [0.00175]),
        (united, "c", 0, [0.005]),
        (alone, "a", 0, [0.009]),
    ]
    assert quick == [(united, "b", 0, [0.0045])]
    assert beside == {united: 6, alone: 3}
    assert version == SCHEMA


def test_an_old_store_has_the_tables_of_a_new_one_afterwards(where: str) -> None:
    laid_out(where)
    CostStore(where).close()

    engine = connect(database_url(where))
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), METADATA)
    engine.dispose()

    assert found == []


def test_a_file_is_copied_before_it_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    laid_out(str(path))
    before = dump(path)

    CostStore(path).close()
    CostStore(path).close()

    assert dump(tmp_path / "costs.sqlite.schema1.bak") == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "costs.sqlite",
        "costs.sqlite.schema1.bak",
    ]


def test_a_file_that_cannot_be_copied_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    laid_out(str(path))
    before = dump(path)
    (tmp_path / "costs.sqlite.schema1.bak").mkdir()

    with pytest.raises(WorkspaceError, match=r"copy '.*costs\.sqlite\.schema1\.bak' cannot be wr"):
        CostStore(path)

    assert dump(path) == before
    assert not (tmp_path / "costs.sqlite.schema1.bak.half").exists()


def test_a_step_that_fails_leaves_the_store_as_it_was(where: str) -> None:
    laid_out(where)
    engine = connect(database_url(where))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE sentinels")

    with pytest.raises(WorkspaceError, match=r"sentinels"):
        CostStore(where)

    with engine.connect() as connection:
        row: dict[str, Any] = connection.exec_driver_sql("SELECT * FROM rounds").first()._asdict()
    engine.dispose()
    assert "joules" not in row
    assert row["environment"] == "c19c68ca5323f1cf"


def test_of_several_processes_that_open_an_old_store_one_brings_it_up_to_date(where: str) -> None:
    laid_out(where)
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, where],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        for _ in range(2)
    ]
    for opener in openers:
        assert opener.stdout is not None and opener.stdout.readline() == b"ready\n"

    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write(b"go\n")
        opener.stdin.flush()
    said = [opener.communicate(timeout=60)[0] for opener in openers]

    assert said == [b"2\n"] * 2
    with CostStore(where) as store, store.transaction() as connection:
        assert len(connection.execute(select(rounds)).all()) == 8


def test_fingerprints_that_are_new_already_stay(where: str) -> None:
    laid_out(where)
    engine = connect(database_url(where))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO environments SELECT 'c755e0234a611657', content, first_seen "
            "FROM environments WHERE fingerprint = 'c19c68ca5323f1cf'"
        )
        connection.exec_driver_sql(
            "UPDATE rounds SET environment = 'c755e0234a611657' "
            "WHERE environment = '1a1293c34ff121b1'"
        )
    engine.dispose()

    with CostStore(where) as store:
        two, one = store.environments()
        done = store.rounds_done(two, AS_THEN, "abc")

    assert (two.fingerprint, one.fingerprint) == ("c755e0234a611657", "b483e163af860084")
    assert done == {"a": RoundsDone(1, 1, 4), "b": RoundsDone(0, 1, 1), "c": RoundsDone(0, 1, 1)}


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    measured=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.integers(0, 1)), max_size=12
    )
)
def test_every_round_of_environments_that_become_one_is_kept(
    tmp_path_factory: pytest.TempPathFactory, measured: list[tuple[int, str, int]]
) -> None:
    path = tmp_path_factory.mktemp("store") / "costs.sqlite"
    laid_out(str(path))
    with closing(sqlite3.connect(path)) as database:
        old = [
            row[0]
            for row in database.execute("SELECT fingerprint FROM environments ORDER BY first_seen")
        ]
        database.execute("DELETE FROM rounds")
        indices: Counter[tuple[int, str]] = Counter()
        for number, (which, key, generation) in enumerate(measured):
            index = indices[which, key]
            indices[which, key] += 1
            samples = json.dumps([number + 1.0])
            time = str(datetime(2026, 11, 1, 12, number, tzinfo=UTC).replace(tzinfo=None))
            row = (key, old[which], "p", index, generation, "s", samples, 0.5, False, time)
            database.execute(
                'INSERT INTO rounds (key, environment, protocol, "index", generation, session, '
                "samples, load_seconds, capped, measured) VALUES (?,?,?,?,?,?,?,?,?,?)",
                row,
            )
        database.commit()

    with CostStore(path) as store, store.transaction() as connection:
        columns = (rounds.c.environment, rounds.c.key, rounds.c.generation, rounds.c.samples)
        kept = Counter((e, k, g, s[0]) for e, k, g, s in connection.execute(select(*columns)))
        places = connection.execute(
            select(rounds.c.environment, rounds.c.key, rounds.c.index).distinct()
        ).all()

    united, alone = "c755e0234a611657", "b483e163af860084"
    name = dict(zip(old, (united, united, alone), strict=True))
    assert kept == Counter(
        (name[old[which]], key, generation, number + 1.0)
        for number, (which, key, generation) in enumerate(measured)
    )
    assert len(places) == len(measured)


def test_a_store_that_was_brought_up_to_date_takes_new_rounds(where: str) -> None:
    laid_out(where)

    with CostStore(where) as store:
        two = store.environments()[0]
        store.add_round(two, AS_THEN, Round("d", "block d", 0, (1.0,), 0.1, peak_bytes=2**40))

        assert store.measurements(two)["d"].peak_bytes == 2**40
