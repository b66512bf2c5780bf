"""What all tests share: no targets of the user's, whole floats, and PostgreSQL for those that ask.

Tests marked `postgres` are skipped where the server cannot be had.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERYCC_TARGETS", str(tmp_path_factory.getbasetemp() / "no-targets"))
        yield


@pytest.fixture(autouse=True)
def whole_floats() -> None:
    """Undo what a runtime of an earlier test did to this thread: flush subnormal numbers to zero.

    Hypothesis refuses to draw floats then, in whichever test happens to come next.
    """
    if sys.float_info.min * 0.5 == 0.0:
        from torch import set_flush_denormal

        set_flush_denormal(False)


# --- a PostgreSQL server ----------------------------------------------------------------------

USER = "derycc"
SETTINGS = {
    "listen_addresses": "",  # a socket in the server's own folder, no port
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "40",
}


def programs() -> Path | None:
    """The folder of initdb and postgres: Debian's newest, else that of the PATH."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name)
    )
    on_path = shutil.which("postgres")
    found = [*reversed(debian), *([Path(on_path).resolve().parent] if on_path else [])]
    return next((path for path in found if (path / "initdb").exists()), None)


def ordinary_user() -> dict[str, int]:
    """Arguments of `Popen`: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid}
    pytest.skip("there is no user but root, as whom PostgreSQL does not run")


def prepared(folder: Path, programs: Path, who: dict[str, int]) -> None:
    """Makes a server's data in the folder."""
    words = [f"--username={USER}", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    made = subprocess.run(
        [programs / "initdb", "-D", folder / "data", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        check=False,
        **who,
    )
    if made.returncode:
        pytest.skip(f"initdb failed: {made.stdout.decode(errors='replace')[-500:]}")


def started(folder: Path, programs: Path, who: dict[str, int]) -> "subprocess.Popen[bytes]":
    """A server whose data and socket are in the folder, once it answers."""
    log = folder / "log"
    settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-k", folder, *settings],
            stdout=output,
            stderr=output,
            cwd=folder,
            **who,
        )
    end = time.monotonic() + 30
    while "ready to accept connections" not in log.read_text(errors="replace"):
        if server.poll() is not None or time.monotonic() > end:
            server.kill()
            pytest.skip(f"postgres did not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.02)
    return server


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """The folder with the socket of a real server, which runs as long as the tests do."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    who = ordinary_user()
    # Not pytest's own folder, which nobody else may enter; short, for the socket's path.
    folder = Path(tempfile.mkdtemp(prefix="derycc-pg-"))
    server = None
    try:
        if who:
            os.chown(folder, who["user"], who["group"])
        prepared(folder, found, who)
        server = started(folder, found, who)
        yield folder
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_folder: Path) -> Iterator[Callable[[], str]]:
    """Makes new, empty databases; gives their URLs."""
    from psycopg import connect

    made = []
    place = f"host={postgres_folder} user={USER}"

    def new() -> str:
        name = f"d{uuid4().hex}"
        with connect(f"{place} dbname=postgres", autocommit=True) as server:
            server.execute(f"CREATE DATABASE {name}".encode())
        made.append(name)
        return f"postgresql://{USER}@/{name}?host={quote(str(postgres_folder), safe='')}"

    yield new
    with connect(f"{place} dbname=postgres", autocommit=True) as server:
        for name in made:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
