"""`derycc store`: what it prints and changes, in a file and on a server."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from derycc.printing_store import size
from profilers.store import CostStore

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

GOLDEN = Path(__file__).parents[1] / "profilers" / "store_1.sqlite"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose store has two environments and eight rounds."""
    (tmp_path / "home").mkdir()
    shutil.copyfile(GOLDEN, tmp_path / "home" / "costs.sqlite")
    return tmp_path / "home"


def test_environments_are_listed(workshop: "Workshop", home: Path) -> None:
    result = workshop.derycc("store", "list", "--home", home)

    assert result.exit_code == 0, result.output
    assert "c755e0234a611657" in result.stdout
    assert "cpu:threads=2" in result.stdout
    assert "2026-11-01" in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"{home / 'costs.sqlite'}: ")


def test_environments_for_a_program_are_json(workshop: "Workshop", home: Path) -> None:
    result = workshop.derycc("store", "list", "--home", home, "--json")

    found = json.loads(result.stdout)
    assert [(e["fingerprint"], e["models"], e["rounds"]) for e in found["environments"]] == [
        ("c755e0234a611657", 3, 7),
        ("b483e163af860084", 1, 1),
    ]
    assert found["environments"][0]["last_measured"] == "2026-11-01T12:06:00+00:00"
    assert found["size_bytes"] > 0


def test_a_store_that_is_not_there_is_not_made(workshop: "Workshop", tmp_path: Path) -> None:
    for command in ("list", "show", "gc"):
        result = workshop.derycc("store", command, "--home", tmp_path / "none")

        assert workshop.refusal(result, 2) == (
            f"There is no cost store at '{tmp_path / 'none' / 'costs.sqlite'}'. Run 'derycc "
            "profile' to make one, or name another with --store."
        )
    assert not (tmp_path / "none").exists()


def test_models_of_an_environment_are_shown(workshop: "Workshop", home: Path) -> None:
    result = workshop.derycc("store", "show", "c755", "--home", home)
    some = workshop.derycc("store", "show", "c755", "--model", "block b", "--home", home, "--json")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("c755e0234a611657: cpu:threads=2 on A processor, 4 cores")
    assert "block a" in result.stdout and "1.75 ms" in result.stdout
    (model,) = json.loads(some.stdout)["models"]
    assert (model["name"], model["median_us"], model["rounds"]) == ("block b", 4500.0, 1)
    assert json.loads(some.stdout)["environment"]["fingerprint"] == "c755e0234a611657"


def test_of_several_environments_one_must_be_named(workshop: "Workshop", home: Path) -> None:
    result = workshop.derycc("store", "show", "--home", home)

    assert workshop.refusal(result, 2) == (
        "The store holds 2 environments: b483e163af860084 (cpu:threads=1), c755e0234a611657 "
        "(cpu:threads=2). Name one of them by its fingerprint."
    )


def test_stores_are_merged_and_again_changes_nothing(
    workshop: "Workshop", tmp_path: Path, home: Path
) -> None:
    other = tmp_path / "other.sqlite"
    words = ("store", "merge", home / "costs.sqlite", GOLDEN, "--store", other)

    first = workshop.derycc(*words)
    again = workshop.derycc(*words, "--json")
    dry = workshop.derycc("store", "merge", GOLDEN, "--store", other, "--dry-run")

    assert first.stdout.splitlines() == [
        f"{home / 'costs.sqlite'}: took over 8 rounds (3 new models, 2 new environments); 0 were "
        "there already.",
        f"{GOLDEN}: took over 0 rounds (0 new models, 0 new environments); 8 were there already.",
    ]
    assert [row["rounds"] for row in json.loads(again.stdout)["merged"]] == [0, 0]
    assert " would take over 0 rounds " in dry.stdout


def test_a_dry_merge_makes_no_store(workshop: "Workshop", tmp_path: Path, home: Path) -> None:
    store = tmp_path / "new.sqlite"
    words = ("store", "merge", home / "costs.sqlite", "--store", store, "--dry-run")

    result = workshop.derycc(*words)

    assert "There is no cost store at" in workshop.refusal(result, 2)
    assert not store.exists()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_store_goes_into_a_file_and_out_of_it(
    workshop: "Workshop", tmp_path: Path, home: Path, suffix: str
) -> None:
    file, new = tmp_path / f"costs.{suffix}", ("--store", str(tmp_path / "new.sqlite"))

    out = workshop.derycc("store", "export", file, "--home", home)
    told = workshop.derycc("store", "export", file, "--home", home, "--json")
    back = workshop.derycc("store", "import", file, *new)
    again = workshop.derycc("store", "import", file, *new, "--json")
    dry = workshop.derycc("store", "import", file, *new, "--dry-run")

    assert out.stdout == f"19 records written to {file}.\n"
    assert json.loads(told.stdout) == {"file": str(file), "records": 19}
    assert back.stdout.startswith(f"{file}: took over 8 rounds (3 new models, 2 new environments)")
    assert (json.loads(again.stdout)["rounds"], json.loads(again.stdout)["known"]) == (0, 8)
    assert " would take over 0 rounds " in dry.stdout


def test_one_environment_is_exported_alone(
    workshop: "Workshop", tmp_path: Path, home: Path
) -> None:
    file = tmp_path / "one.jsonl"

    result = workshop.derycc("store", "export", file, "--environment", "b483", "--home", home)

    assert result.stdout == f"5 records written to {file}.\n"


def test_an_unknown_format_is_refused_before_anything_is_opened(
    workshop: "Workshop", tmp_path: Path
) -> None:
    result = workshop.derycc("store", "export", tmp_path / "x.csv", "--home", tmp_path / "none")

    assert workshop.refusal(result, 2) == (
        f"The suffix of '{tmp_path / 'x.csv'}' tells no format of cost files. Name it by --format: "
        "jsonl or parquet."
    )


def test_a_refused_file_leaves_no_store_behind(workshop: "Workshop", tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("nonsense\n")
    store = tmp_path / "new.sqlite"

    workshop.refusal(workshop.derycc("store", "import", tmp_path / "x.jsonl", "--store", store), 2)
    workshop.refusal(workshop.derycc("store", "merge", tmp_path / "no.db", "--store", store), 2)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.jsonl"]


def test_an_empty_store_says_how_to_fill_it(workshop: "Workshop", tmp_path: Path) -> None:
    CostStore(tmp_path / "new.sqlite").close()

    said = workshop.derycc("store", "list", "--store", tmp_path / "new.sqlite").stdout

    assert "new.sqlite holds no measurement yet. Make some: derycc profile." in said


def test_a_model_that_was_not_measured_is_refused(workshop: "Workshop") -> None:
    result = workshop.derycc("store", "show", "--home", workshop.home, "--model", "nosuch")

    assert workshop.refusal(result, 2) == (
        "No model whose name or key contains 'nosuch' was measured on reference. Leave --model out "
        "to see all."
    )


def test_a_database_of_another_kind_is_refused(workshop: "Workshop") -> None:
    said = workshop.refusal(workshop.derycc("store", "list", "--store", "mysql://x"), 2)

    assert "it is a database of mysql, and stores are SQLite or PostgreSQL" in said


def test_a_broken_file_is_refused_with_its_line(
    workshop: "Workshop", tmp_path: Path, home: Path
) -> None:
    (tmp_path / "x.jsonl").write_text('{"format": "derycc.costs/1"}\nnonsense\n')

    result = workshop.derycc("store", "import", tmp_path / "x.jsonl", "--home", home)

    assert workshop.refusal(result, 2).startswith(f"Line 2 of '{tmp_path / 'x.jsonl'}' is no JSON")


def test_what_is_no_longer_used_is_removed(workshop: "Workshop", home: Path) -> None:
    dry = workshop.derycc("store", "gc", "--home", home, "--dry-run")
    done = workshop.derycc("store", "gc", "--home", home)
    whole = workshop.derycc("store", "gc", "--environment", "b483", "--home", home, "--json")
    left = workshop.derycc("store", "list", "--home", home, "--json")

    assert dry.stdout.startswith("Would remove 3 rounds, 0 models and 0 environments, about ")
    assert dry.stdout.endswith(". Nothing was (--dry-run).\n")
    assert done.stdout.startswith("Removed 3 rounds, 0 models and 0 environments, ")
    assert json.loads(whole.stdout)["environments"] == 1
    (environment,) = json.loads(left.stdout)["environments"]
    assert (environment["models"], environment["rounds"]) == (3, 4)


def test_old_models_are_removed(workshop: "Workshop", home: Path) -> None:
    result = workshop.derycc("store", "gc", "--older-than", "1", "--home", home)

    # The golden store was measured in November 2026.
    assert result.exit_code == 0
    assert result.stdout.startswith(("Removed 8 rounds", "Removed 3 rounds"))


@pytest.mark.postgres
def test_every_command_works_on_a_server_and_shows_no_password(
    workshop: "Workshop", tmp_path: Path, postgres: Callable[[], str]
) -> None:
    url = postgres().replace("derycc@", "derycc:secret@")
    file = tmp_path / "costs.jsonl"
    commands = [
        ("merge", GOLDEN),
        ("list",),
        ("show", "c755"),
        ("export", file),
        ("import", file),
        ("gc",),
    ]

    results = [workshop.derycc("store", *words, "--store", url) for words in commands]
    back = workshop.derycc("store", "merge", url, "--store", tmp_path / "back.sqlite")

    assert [result.exit_code for result in [*results, back]] == [0] * 7
    assert "took over 5 rounds" in back.stdout
    assert not any("secret" in result.output for result in [*results, back])
    assert "derycc:***@" in results[1].stdout


@pytest.mark.postgres
def test_a_profile_is_kept_on_a_server_that_the_environment_names(
    workshop: "Workshop",
    tmp_path: Path,
    postgres: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DERYCC_STORE", postgres())
    words = ("--zoo", "random:test_resnet")

    dry = workshop.run("profile", *words, "--dry-run", home=tmp_path / "home")
    done = workshop.run("profile", *words, home=tmp_path / "home")
    again = workshop.run("profile", *words, "--dry-run", "--json", home=tmp_path / "home")

    assert (dry.exit_code, done.exit_code) == (0, 0), done.output
    assert json.loads(again.stdout)["to_measure"] == 0
    assert not (tmp_path / "home" / "costs.sqlite").exists()
    listed = json.loads(workshop.derycc("store", "list", "--json").stdout)
    assert [e["backend"] for e in listed["environments"]] == ["reference"]


def test_a_store_of_its_own_may_be_named(workshop: "Workshop", tmp_path: Path) -> None:
    store = tmp_path / "mine.sqlite"

    result = workshop.derycc("bench", workshop.build, "--home", tmp_path / "home", "--store", store)

    assert result.exit_code == 0, result.output
    assert store.exists()
    assert not (tmp_path / "home" / "costs.sqlite").exists()


def test_a_store_that_still_holds_is_said_to(workshop: "Workshop", tmp_path: Path) -> None:
    before = workshop.content(workshop.home)

    result = workshop.derycc("store", "check", *workshop.words(), "--blocks", "3")
    told = workshop.derycc("store", "check", *workshop.words(), "--blocks", "2", "--json")

    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("The costs of 'reference': still valid to +-0.0 %.\n")
    found = json.loads(told.stdout)
    assert (found["verdict"], found["ratio"], len(found["blocks"])) == ("valid", 1.0, 2)
    assert workshop.content(workshop.home) == before


def test_a_store_that_no_longer_holds_is_said_so_with_exit_code_4(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home = workshop.copy("home", tmp_path)
    with closing(sqlite3.connect(home / "costs.sqlite")) as store:
        for number, text in store.execute("SELECT id, samples FROM rounds").fetchall():
            faster = json.dumps([sample / 1.25 for sample in json.loads(text)])
            store.execute("UPDATE rounds SET samples = ? WHERE id = ?", (faster, number))
        store.commit()

    result = workshop.derycc("store", "check", *workshop.words(home))

    assert workshop.refusal(result, 4) == (
        "The costs of 'reference': no longer valid: 25 % slower; profile again with --fresh."
    )
    assert "+25.0 %" in result.stdout and "moved" in result.stdout


def test_a_check_in_another_environment_names_the_difference(workshop: "Workshop") -> None:
    words = ("store", "check", *workshop.words(), "--target", "reference:spinning=off")

    message = workshop.refusal(workshop.derycc(*words), 2)

    assert message.startswith(
        "The cost store has none of these donors' blocks on 'reference:spinning=off' in this "
        "environment. The nearest environment that it knows is "
    )
    assert "(reference); differences: spinning: False here, True there. " in message


def test_a_check_of_a_store_without_measurements_says_what_to_do(
    workshop: "Workshop", tmp_path: Path
) -> None:
    words = ("store", "check", *workshop.words(), "--store", tmp_path / "none.sqlite")

    message = workshop.refusal(workshop.derycc(*words), 2)

    assert message.endswith("Run 'derycc profile' with the same options first.")
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "B"), (1000, "kB"), (1_500_000, "MB")],
)
def test_sizes_have_units(count: int, text: str) -> None:
    assert size(count) == {"B": "999 B", "kB": "1.0 kB", "MB": "1.5 MB"}[text]
    assert size(None) == "-"
