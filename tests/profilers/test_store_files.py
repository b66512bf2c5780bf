import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profilers.environment import Environment
from profilers.protocol import Protocol
from profilers.store import CostStore, Round
from profilers.store_files import export_store, import_file
from profilers.store_merge import Absorbed, absorb, merge
from profilers.store_records import records
from targets.errors import UnknownNameError, UsageError, WorkspaceError

KEEP = Protocol()
GOLDEN = Path(__file__).with_name("store_1.sqlite")
FORMATS = pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
ALL = Absorbed(rounds=8, known=0, models=3, environments=2, sentinels=9)


@pytest.fixture
def store(where: str) -> Iterator[CostStore]:
    """An empty store in each kind of database."""
    with CostStore(where) as store:
        yield store


@pytest.fixture
def full(tmp_path: Path) -> Iterator[CostStore]:
    """A store of two environments, eight rounds and nine sentinels."""
    with CostStore(tmp_path / "full.sqlite") as store:
        merge(store, GOLDEN)
        yield store


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[CostStore]:
    with CostStore(tmp_path / "empty.sqlite") as store:
        yield store


def content(store: CostStore) -> Counter[str]:
    with store.transaction() as connection:
        return Counter(map(repr, records(connection)))


def lines(store: CostStore, folder: Path) -> list[dict[str, Any]]:
    export_store(store, folder / "lines.jsonl")
    return [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]


@FORMATS
def test_what_is_exported_is_imported_as_it_was(
    full: CostStore, store: CostStore, empty: CostStore, tmp_path: Path, suffix: str
) -> None:
    file, back = tmp_path / f"costs.{suffix}", tmp_path / f"back.{suffix}"

    count = export_store(full, file)
    done = import_file(store, file)
    export_store(store, back)
    import_file(empty, back)

    assert (count, done) == (19, ALL)
    assert content(store) == content(full) == content(empty)
    assert import_file(store, file) == Absorbed(known=8)
    assert import_file(full, back) == Absorbed(known=8)


def test_a_broken_file_leaves_the_store_as_it_was(
    full: CostStore, store: CostStore, tmp_path: Path
) -> None:
    made = lines(full, tmp_path)
    made[-2]["samples"] = []
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(fields) + "\n" for fields in made))
    with full.transaction() as connection:
        absorb(store, records(connection, "b483e163af860084"))
    before = content(store)

    with pytest.raises(UsageError, match=r"Line 20 of '.*x\.jsonl' is no measurement: .*samples"):
        import_file(store, tmp_path / "x.jsonl")

    assert content(store) == before


@FORMATS
def test_one_environment_may_be_exported_alone(
    full: CostStore, empty: CostStore, tmp_path: Path, suffix: str
) -> None:
    export_store(full, tmp_path / "costs", suffix, "b483e163af860084")

    assert import_file(empty, tmp_path / "costs", suffix) == Absorbed(1, 0, 1, 1, 3)


@FORMATS
def test_a_dry_import_only_counts(
    full: CostStore, empty: CostStore, tmp_path: Path, suffix: str
) -> None:
    export_store(full, tmp_path / f"costs.{suffix}")

    assert import_file(empty, tmp_path / f"costs.{suffix}", dry=True) == ALL
    assert content(empty) == Counter()


@FORMATS
def test_an_empty_store_is_a_file_too(empty: CostStore, tmp_path: Path, suffix: str) -> None:
    assert export_store(empty, tmp_path / f"costs.{suffix}") == 0
    assert import_file(empty, tmp_path / f"costs.{suffix}") == Absorbed()


def test_the_lines_are_as_documented(full: CostStore, tmp_path: Path) -> None:
    found = lines(full, tmp_path)

    assert found[0] == {"format": "derycc.costs/1"}
    assert found[-1] == {"kind": "end", "records": 19}
    assert [line["kind"] for line in found[1:-1]] == [
        *("environment", *(["sentinel"] * 6), *(["round"] * 7)),
        *("environment", *(["sentinel"] * 3), "round"),
    ]
    assert found[2] == {
        "kind": "sentinel",
        "environment": "c755e0234a611657",
        "protocol": "96798eb2c8faad70",
        "session": "one",
        "seconds": 1e-4,
    }
    assert found[9] == {
        "kind": "round",
        "key": "a",
        "name": "block a",
        "environment": "c755e0234a611657",
        "protocol": "96798eb2c8faad70",
        "generation": 0,
        "session": "one",
        "samples": [0.0015, 0.0025],
        "load_seconds": 0.25,
        "capped": True,
        "measured": "2026-11-01T12:01:00Z",
        "peak_bytes": None,
        "joules": None,
        "contention": None,
    }


def test_any_tool_reads_the_rounds_of_a_parquet_file(full: CostStore, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    export_store(full, tmp_path / "costs.parquet")

    table = parquet.read_table(tmp_path / "costs.parquet")
    metadata = parquet.read_metadata(tmp_path / "costs.parquet").metadata

    assert table.num_rows == 8
    assert table.column("samples").to_pylist()[1] == [0.0015, 0.0025]
    assert metadata[b"derycc.format"] == b"derycc.costs/1"


def test_many_rounds_are_exported_in_parts(
    environment: Environment, empty: CostStore, tmp_path: Path
) -> None:
    with CostStore(tmp_path / "many.sqlite") as store:
        store.add_round(environment, KEEP, Round("a", "a", 0, (1.0,), 0.1))
        with store.transaction() as connection:
            connection.exec_driver_sql(
                'INSERT INTO rounds (key, environment, protocol, "index", generation, session, '
                "samples, load_seconds, capped, measured) WITH RECURSIVE n(i) AS (SELECT 1 UNION "
                "ALL SELECT i + 1 FROM n WHERE i < 1200) SELECT key, environment, protocol, i, "
                "generation, i, samples, load_seconds, capped, measured FROM rounds, n"
            )
        export_store(store, tmp_path / "many.parquet")

    assert import_file(empty, tmp_path / "many.parquet").rounds == 1201


@pytest.mark.parametrize(
    ("number", "line", "said"),
    [
        (1, '{"format": "derycc.costs/9"}', r"Line 1 of '.*' does not say the format"),
        (1, '{"format": 1}', r"Line 1 of '.*' does not say the format"),
        (4, "{", r"Line 4 of '.*' is no JSON: "),
        (4, "[" * 100_000, r"Line 4 of '.*' is no JSON: "),
        (4, "[1]", r"Line 4 of '.*' is no JSON object"),
        (
            4,
            '{"kind": "round", "load_seconds": NaN}',
            r"Line 4 of '.*': NaN is no number|NaN is no",
        ),
        (4, '{"kind": "recipe"}', r"Line 4 of '.*' is no measurement: .*'recipe'"),
        (4, '{"kind": "sentinel", "seconds": -1}', r"Line 4 of '.*' is no measurement: sentinel\."),
        (4, '{"kind": "end", "records": 2}', r"Line 4 of '.*' says that it is the last one, after"),
        (2, '{"kind": "end", "records": 9}', r"Line 2 of '.*' says that it is the last one, after"),
        (4, "\xff\xfe", r"Line 4 of '.*' is no JSON: "),
    ],
)
def test_a_broken_line_is_named_and_nothing_is_imported(
    full: CostStore, empty: CostStore, tmp_path: Path, number: int, line: str, said: str
) -> None:
    made = [json.dumps(fields).encode() for fields in lines(full, tmp_path)]
    made[number - 1] = line.encode("latin-1")
    (tmp_path / "broken.jsonl").write_bytes(b"\n".join(made) + b"\n")

    with pytest.raises(UsageError, match=said):
        import_file(empty, tmp_path / "broken.jsonl")

    assert content(empty) == Counter()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("samples", [], "samples"),
        ("samples", [1.0, 0.0], r"samples\.1"),
        ("samples", [1.0, "x"], r"samples\.1"),
        ("samples", [1e999], "no JSON"),
        ("key", "", "key"),
        ("key", "k" * 65, "key"),
        ("name", "a\0b", "name"),
        ("generation", -1, "generation"),
        ("generation", 2**40, "generation"),
        ("peak_bytes", 2**70, "peak_bytes"),
        ("measured", "yesterday", "measured"),
        ("measured", "2026-11-01T12:00:00", "measured"),
        ("environment", "unknown", "which is not described"),
    ],
)
def test_a_round_that_cannot_be_is_refused(
    full: CostStore, empty: CostStore, tmp_path: Path, field: str, value: object, said: str
) -> None:
    made = lines(full, tmp_path)
    made[9][field] = value
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(fields) + "\n" for fields in made))

    with pytest.raises(UsageError, match=said):
        import_file(empty, tmp_path / "x.jsonl")

    assert content(empty) == Counter()


@pytest.mark.parametrize("cut", [1, 30, 2000])
def test_a_file_that_was_cut_off_is_noticed(
    full: CostStore, empty: CostStore, tmp_path: Path, cut: int
) -> None:
    export_store(full, tmp_path / "costs.jsonl")
    whole = (tmp_path / "costs.jsonl").read_bytes()
    (tmp_path / "costs.jsonl").write_bytes(whole[:-cut])

    with pytest.raises(UsageError, match=r"is (cut off|missing): the file is not complete"):
        import_file(empty, tmp_path / "costs.jsonl")

    assert content(empty) == Counter()


def test_lines_behind_the_last_one_are_noticed(
    full: CostStore, empty: CostStore, tmp_path: Path
) -> None:
    export_store(full, tmp_path / "costs.jsonl")
    with (tmp_path / "costs.jsonl").open("ab") as stream:
        stream.write(b"{}\n")

    with pytest.raises(UsageError, match="or more lines behind it"):
        import_file(empty, tmp_path / "costs.jsonl")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(noise=st.binary(max_size=200), suffix=st.sampled_from(["jsonl", "parquet"]))
def test_any_bytes_are_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, suffix: str
) -> None:
    file = tmp_path_factory.mktemp("noise") / f"costs.{suffix}"
    file.write_bytes(noise)

    with (
        CostStore(file.with_name("costs.sqlite")) as store,
        pytest.raises(UsageError, match="Nothing was taken over"),
    ):
        import_file(store, file)


def test_a_parquet_file_of_something_else_is_refused(empty: CostStore, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"song": ["a"]}), tmp_path / "songs.parquet")

    with pytest.raises(UsageError, match=r"does not say the format 'derycc\.costs/1'"):
        import_file(empty, tmp_path / "songs.parquet")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{", "is no Parquet file of costs"),
        ("{}", r"Entry 1 of derycc\.environments in .* is no measurement"),
        ('[{"kind": "sentinel"}]', r"Entry 1 of derycc\.environments in .* is no measurement"),
    ],
)
def test_a_parquet_file_with_broken_metadata_is_refused(
    empty: CostStore, tmp_path: Path, entry: str, said: str
) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    metadata = {"derycc.format": "derycc.costs/1", "derycc.environments": entry}
    table = pa.table({"key": ["a"]}).replace_schema_metadata(metadata)
    parquet.write_table(table, tmp_path / "x.parquet")

    with pytest.raises(UsageError, match=said):
        import_file(empty, tmp_path / "x.parquet")


def test_without_pyarrow_the_hint_says_how_to_get_it(
    empty: CostStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(UsageError, match=r"pip install 'derycc\[parquet\]'.*\.jsonl"):
        export_store(empty, tmp_path / "costs.parquet")

    assert not (tmp_path / "costs.parquet").exists()


def test_an_unknown_format_is_named_with_the_known_ones(empty: CostStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"csv' tells no format .*--format: jsonl or parquet"):
        export_store(empty, tmp_path / "costs.csv")
    with pytest.raises(UnknownNameError, match=r"'jsnl'. Did you mean 'jsonl'"):
        import_file(empty, tmp_path / "costs", "jsnl")


def test_a_file_that_cannot_be_written_leaves_what_was_there(
    full: CostStore, tmp_path: Path
) -> None:
    (tmp_path / "taken.jsonl").mkdir()
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(WorkspaceError, match=r"Cannot write '.*taken\.jsonl': Is a directory"):
        export_store(full, tmp_path / "taken.jsonl")
    with pytest.raises(WorkspaceError, match=r"Cannot write .*: (File exists|Not a directory)"):
        export_store(full, tmp_path / "file" / "costs.jsonl")

    assert {path.name for path in tmp_path.glob("*.jsonl*")} == {"taken.jsonl"}
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_is_not_there_is_named(empty: CostStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read '.*none\.jsonl': No such file"):
        import_file(empty, tmp_path / "none.jsonl")
