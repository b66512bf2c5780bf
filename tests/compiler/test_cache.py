"""Cache: made once, named by what it depends on, never half there."""

from pathlib import Path

import pytest

from compiler.cache import FORMAT, Cache, digest, write_atomic
from targets.errors import WorkspaceError


def never() -> object:
    raise AssertionError("it is cached")


def test_a_value_is_made_once_and_kept_for_the_next_process(tmp_path: Path) -> None:
    value = Cache(tmp_path).json("kind", "key", lambda: {"a": [1, 2.5, None]})

    again = Cache(tmp_path).json("kind", "key", never)

    assert value == again == {"a": [1, 2.5, None]}


def test_kinds_and_keys_are_kept_apart(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    made = [cache.json(kind, key, (kind + key).upper) for kind in "ab" for key in "xy"]

    assert made == ["AX", "AY", "BX", "BY"]
    assert cache.path("a", "x") == tmp_path / FORMAT / "a" / "x"


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe\x00"])
def test_a_damaged_file_is_made_again(tmp_path: Path, content: bytes) -> None:
    cache = Cache(tmp_path)
    write_atomic(tmp_path / "kind" / "key.json", content)

    value = cache.json("kind", "key", lambda: 7)

    assert value == 7 == cache.json("kind", "key", never)


def test_writing_makes_folders_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"

    write_atomic(path, b"first")
    write_atomic(path, b"second")

    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(WorkspaceError) as caught:
        write_atomic(tmp_path / "file" / "x", b"")

    assert str(caught.value) == (
        f"Cannot write {tmp_path / 'file' / 'x'}: File exists. Give a folder that can be "
        "written with --home (or the DERYCC_HOME variable), or --out for builds."
    )


def test_a_digest_depends_on_every_part_and_on_their_borders() -> None:
    assert digest("a", 1, (2.0, None)) == digest("a", 1, (2.0, None))
    assert len({digest("a", "b"), digest("ab"), digest("b", "a"), digest("a", "b", "")}) == 4
    assert digest(1) != digest("1")
