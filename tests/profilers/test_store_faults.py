"""Faults around a cost store: no room, no right to write, damage, lost connections, kill -9."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from backends.model import ExportedModel
from profilers.environment import Environment
from profilers.protocol import Protocol
from profilers.store import CostStore, Round, RoundsDone
from profilers.store_copy import snapshot
from profilers.tables import rounds
from targets.errors import WorkspaceError

ROOT = Path(__file__).parents[2]
KEEP = Protocol()

FULL_DISK = """
import resource, signal, sys
from backends.reference import ReferenceBackend
from profilers.environment import Environment
from profilers.protocol import Protocol
from profilers.store import CostStore, Round
from targets.errors import WorkspaceError
from targets.target import get_target

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
environment = Environment.capture(get_target("reference"), ReferenceBackend())
kept = 0
try:
    with CostStore(sys.argv[1]) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        for index in range(1000):
            samples = tuple(1.0 + i / 7 for i in range(200))
            store.add_round(environment, Protocol(), Round("a", "a", index, samples, 0.1))
            kept += 1
except WorkspaceError as error:
    print(kept, error)
"""

# Root may write everywhere, so it becomes nobody once all modules are imported.
READER = """
import os, sys
from profilers.store import CostStore
from targets.errors import WorkspaceError

CostStore("sqlite:///:memory:").close()
if os.getuid() == 0:
    os.seteuid(65534)
try:
    CostStore(sys.argv[1]).close()
except WorkspaceError as error:
    print(error)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="derycc-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_full_disk_is_said_and_what_was_kept_is_kept(
    tmp_path: Path, environment: Environment
) -> None:
    path = tmp_path / "costs.sqlite"

    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    kept, _, said = done.stdout.partition(" ")
    assert 10 < int(kept) < 1000
    assert said.startswith(f"Cannot use the cost store '{path}': ")
    assert "full" in said or "disk I/O error" in said
    assert "What it holds was left as it is" in said
    with CostStore(path) as store:
        found = store.rounds_done(environment, KEEP, "a")
    assert found == {"a": RoundsDone(0, int(kept), int(kept))}
    assert integrity(path) == "ok"


def test_a_database_that_may_not_grow_says_so(
    tmp_path: Path, environment: Environment, round_of_a: Round
) -> None:
    with CostStore(tmp_path / "costs.sqlite") as store:
        store.add_round(environment, KEEP, round_of_a)
        with store.transaction() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        large = replace(round_of_a, index=1, samples=tuple(1.0 + i / 7 for i in range(9000)))

        with pytest.raises(WorkspaceError, match="database or disk is full"):
            store.add_round(environment, KEEP, large)

        assert store.measurements(environment)["a"].rounds == ((1e-3, 2e-3, 3e-3),)


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o777), (0o666, 0o555)])
def test_what_may_not_be_written_is_said_and_left_as_it_is(
    open_folder: Path, file_mode: int, folder_mode: int
) -> None:
    path = open_folder / "costs.sqlite"
    CostStore(path).close()
    before = path.read_bytes()
    path.chmod(file_mode)
    open_folder.chmod(folder_mode)

    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    open_folder.chmod(0o755)

    assert done.stdout.startswith(f"Cannot use the cost store '{path}': ")
    assert "readonly" in done.stdout or "unable to open" in done.stdout
    assert "that can be written" in done.stdout
    assert path.read_bytes() == before


def test_a_file_with_damaged_pages_is_a_workspace_error(
    tmp_path: Path, environment: Environment
) -> None:
    path = tmp_path / "costs.sqlite"
    with CostStore(path) as store:
        for index in range(50):
            samples = tuple(1.0 + i / 7 for i in range(200))
            store.add_round(environment, KEEP, Round("a", "a", index, samples, 0.1))
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xa5" * (len(content) - 8192))

    with (
        pytest.raises(WorkspaceError, match=r"malformed|not a database"),
        CostStore(path) as store,
    ):
        store.measurements(environment)

    assert path.read_bytes()[8192:] == b"\xa5" * (len(content) - 8192)


def test_a_store_is_copied_while_it_is_open(
    tmp_path: Path, environment: Environment, round_of_a: Round
) -> None:
    with CostStore(tmp_path / "costs.sqlite") as store:
        store.add_round(environment, KEEP, round_of_a)
        (tmp_path / "copy").mkdir()
        copy = snapshot(tmp_path / "costs.sqlite", tmp_path / "copy")

        with CostStore(copy) as other:
            assert other.measurements(environment) == store.measurements(environment)


# SQLite wants to make a log beside the file, which it may not: it is read as it lies there.
COPIER = """
import os, sys
from pathlib import Path
from profilers.store import CostStore
from profilers.store_copy import snapshot

CostStore("sqlite:///:memory:").close()
if os.getuid() == 0:
    os.seteuid(65534)
copy = snapshot(sys.argv[1], Path(sys.argv[2]))
with CostStore(copy) as store:
    print(len(store.environments()))
"""


def test_a_store_in_a_folder_that_may_not_be_written_is_copied(
    open_folder: Path, environment: Environment, round_of_a: Round
) -> None:
    path = open_folder / "archive" / "costs.sqlite"
    with CostStore(path) as store:
        store.add_round(environment, KEEP, round_of_a)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    (open_folder / "copy").mkdir()
    (open_folder / "copy").chmod(0o777)

    done = subprocess.run(
        [sys.executable, "-c", COPIER, str(path), str(open_folder / "copy")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    path.parent.chmod(0o755)

    assert done.stdout == "1\n"
    assert [file.name for file in path.parent.iterdir()] == ["costs.sqlite"]


def test_where_there_is_no_store_the_copy_is_a_new_one(where: str, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()

    copy = snapshot(where, tmp_path / "copy")

    assert copy == str(tmp_path / "copy" / "costs.sqlite")
    assert not Path(copy).exists()


@pytest.mark.postgres
def test_a_store_on_a_server_is_not_copied(postgres: Callable[[], str], tmp_path: Path) -> None:
    url = postgres()
    CostStore(url).close()

    assert snapshot(url, tmp_path) == url


@pytest.mark.postgres
def test_a_server_that_hangs_up_is_a_workspace_error_and_is_called_again(
    postgres: Callable[[], str], environment: Environment, round_of_a: Round
) -> None:
    url = postgres()
    with CostStore(url) as store, CostStore(url) as other:
        store.add_round(environment, KEEP, round_of_a)

        with pytest.raises(WorkspaceError, match=r"Cannot use the cost store 'postgresql"):
            be_cut_off(store, other)
        hang_up(other)

        assert store.measurements(environment).keys() == {"a"}


def be_cut_off(store: CostStore, other: CostStore) -> None:
    with store.transaction() as connection:
        connection.execute(select(rounds)).all()
        hang_up(other)
        connection.execute(select(rounds))


def hang_up(store: CostStore) -> None:
    """Ends all other connections to the database."""
    with store.transaction() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


PROFILER = """
import sys
from pathlib import Path
from backends.model import ExportedModel
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.target import get_target

models = [ExportedModel.load(path) for path in sorted(Path(sys.argv[2]).glob("*.onnx"))]
protocol = Protocol(rounds=3, max_rounds=3, min_units=3, unit_seconds=0.001, warmup_seconds=0.001)
with CostStore(sys.argv[1]) as store:
    profile(models, get_target("reference"), store=store, protocol=protocol)
"""


def test_a_profile_that_is_killed_again_and_again_is_complete_in_the_end(
    where: str, tmp_path: Path, models: tuple[ExportedModel, ...], environment: Environment
) -> None:
    (tmp_path / "models").mkdir()
    for number, model in enumerate(models):
        model.save(tmp_path / "models" / f"{number}.onnx")
    random = np.random.default_rng(0)
    CostStore(where).close()

    for kept in (1, 3, 5):
        process = started(where, tmp_path / "models")
        while count(where) < kept and process.poll() is None:
            time.sleep(0.01)
        time.sleep(float(random.uniform(0, 0.02)))
        os.killpg(process.pid, signal.SIGKILL)
        # A slow machine may look only after the later ones have done all that was left.
        assert process.wait() in ((-signal.SIGKILL,) if kept == 1 else (-signal.SIGKILL, 0))
    process = started(where, tmp_path / "models")

    assert process.wait(timeout=60) == 0
    with CostStore(where) as store, store.transaction() as connection:
        rows = connection.execute(select(rounds.c.key, rounds.c.index, rounds.c.session)).all()
    each = Counter(row.key for row in rows)
    assert each == dict.fromkeys((model.structure for model in models), 3)
    assert len({(row.key, row._mapping["index"]) for row in rows}) == len(rows)
    assert len({(row.key, row.session) for row in rows}) == len(rows)
    if "://" not in where:
        assert integrity(Path(where)) == "ok"


def started(where: str, models: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", PROFILER, where, str(models)], cwd=ROOT, start_new_session=True
    )


def count(where: str) -> int:
    with CostStore(where) as store, store.transaction() as connection:
        return len(connection.execute(select(rounds.c.id)).all())


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("PRAGMA integrity_check").fetchone()[0])
