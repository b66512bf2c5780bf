"""Going on: a build that is killed goes on where it was, and a second one gives the same again."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from derycc.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

SAME = ("derycc.lock", "model.onnx", "network.safetensors", "verify.json")
ASKED = ("--latency", "1.2ms", "--candidates", "3")


def journals(home: Path) -> list[dict[str, Any]]:
    paths = home.glob("cache/*/searches/*.json")
    return [json.loads(path.read_text()) for path in sorted(paths)]


def measured(home: Path) -> int:
    """Networks that a search has noted as measured."""
    return max((len(journal["kept"]) for journal in journals(home)), default=0)


def rounds_in_store(home: Path) -> Counter[str]:
    """Rounds by structure and generation."""
    with closing(sqlite3.connect(home / "costs.sqlite")) as store:
        return Counter(
            f"{key} {generation}"
            for key, generation in store.execute("SELECT key, generation FROM rounds")
        )


def killed_after(home: Path, networks: int, words: list[str], workshop: "Workshop") -> None:
    """Start a build in a process of its own and kill it once it has measured so many networks."""
    build = subprocess.Popen(
        [sys.executable, "-m", "derycc", *words],
        env=workshop.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 100
    while measured(home) < networks and build.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(build.pid, signal.SIGKILL)
    build.wait()


@pytest.fixture(scope="module")
def home(workshop: "Workshop", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which everything is profiled and nothing was searched for."""
    made = workshop.copy("home", tmp_path_factory.mktemp("resume"))
    for path in made.glob("cache/*/searches/*.json"):
        path.unlink()
    return made


@pytest.fixture(scope="module")
def builds(workshop: "Workshop", home: Path) -> dict[str, Any]:
    """A build that was killed and went on, and one more of the same."""
    words = ["build", *workshop.words(home), *ASKED, "--out", str(home / "a")]
    killed_after(home, 2, words, workshop)
    found: dict[str, Any] = {"before": measured(home), "unfinished": (home / "a").exists()}
    found["resumed"] = workshop.derycc(*words)
    found["rounds"] = rounds_in_store(home)
    found["again"] = workshop.run("build", *ASKED, "--out", home / "b", home=home)
    found["rounds again"] = rounds_in_store(home)
    return found


def test_a_killed_build_goes_on_where_it_was(builds: dict[str, Any], home: Path) -> None:
    resumed = builds["resumed"]

    assert builds["before"] >= 2
    assert not builds["unfinished"]
    assert resumed.exit_code == 0, resumed.output
    assert f"resuming: {builds['before'] - 1} of 3 candidates were built before" in resumed.stderr
    assert len(read_manifest(home / "a").rounds) == measured(home)


def test_a_second_identical_build_gives_the_identical_network(
    builds: dict[str, Any], workshop: "Workshop", home: Path
) -> None:
    first, second = workshop.content(home / "a"), workshop.content(home / "b")

    assert builds["again"].exit_code == 0, builds["again"].output
    assert [first[name] for name in SAME] == [second[name] for name in SAME]
    assert read_manifest(home / "a").rounds == read_manifest(home / "b").rounds


def test_only_the_choice_is_measured_anew(builds: dict[str, Any]) -> None:
    new = builds["rounds again"] - builds["rounds"]

    assert len(new) <= 1
    assert max(builds["rounds again"].values()) == max(builds["rounds"].values())


def test_an_interrupted_build_gives_what_one_at_a_stretch_gives(
    builds: dict[str, Any], workshop: "Workshop", home: Path, tmp_path: Path
) -> None:
    other = workshop.copy("home", tmp_path)
    for path in other.glob("cache/*/searches/*.json"):
        path.unlink()

    result = workshop.run("build", *ASKED, "--out", tmp_path / "c", home=other)

    assert result.exit_code == 0, result.output
    assert "resuming" not in result.stderr
    first, last = read_manifest(home / "a"), read_manifest(tmp_path / "c")
    assert [one.network for one in first.rounds] == [one.network for one in last.rounds]
    assert [one.learned for one in first.rounds] == [one.learned for one in last.rounds]
    assert first.certificate == last.certificate


def test_a_build_tells_what_it_proved(workshop: "Workshop", papers: Manifest) -> None:
    certificate = papers.certificate
    said = (workshop.root / "build.txt").read_text()
    page = (workshop.build / "report.html").read_text(encoding="utf-8")

    assert certificate is not None
    assert certificate.met.budget_us == 1200.0
    assert certificate.met.upper_us == papers.latency.measured_interval_us[1]
    assert certificate.measured == len(papers.rounds) == len(papers.tried)
    assert f"Certificate: {certificate.holds}. " in said
    assert "The budget of 1.20 ms is met by measurement: " in said
    assert "How the search went" in page
    assert "What was proven" in page


def test_a_time_that_is_up_ends_the_search_with_what_was_built(
    builds: dict[str, Any], workshop: "Workshop", home: Path
) -> None:
    result = workshop.run(
        "build", "--latency", "1.25ms", "--build-seconds", "0.001", "--out", home / "t", home=home
    )

    papers = read_manifest(home / "t")
    assert result.exit_code == 0, result.output
    assert papers.certificate is not None
    assert len(papers.rounds) == 1
    assert papers.certificate.stopped == "time"
    assert "expected to be finished in time (--build-seconds)." in result.stdout


@pytest.mark.slow
def test_two_builds_at_once_leave_each_other_whole(
    builds: dict[str, Any], workshop: "Workshop", home: Path
) -> None:
    words = ["build", *workshop.words(home), *ASKED, "--out", str(home / "both")]
    run = [sys.executable, "-m", "derycc", *words]

    both = [
        subprocess.Popen(run, env=workshop.environ(), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [one.communicate(timeout=120)[1] for one in both]

    assert [one.returncode for one in both] == [0, 0], said
    content = workshop.content(home / "both")
    papers = read_manifest(home / "both")
    assert {name: content[name] for name in papers.files} == papers.files
