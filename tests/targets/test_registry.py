import os
from dataclasses import replace
from pathlib import Path

import pytest

from targets.errors import UnknownNameError, UsageError
from targets.machine import usable_cores
from targets.registry import (
    check_free,
    entries,
    find,
    remove,
    save,
    split_reference,
    user_files,
    user_folder,
)
from targets.target import Target, get_target, list_targets
from targets.target_file import TargetFile, read_target_file

BOX = TargetFile("box", "reference", threads=2, precisions=("fp32", "int8"), spinning=False)


def write(path: Path, file: TargetFile = BOX) -> Path:
    path.write_text(file.to_toml())
    return path


def test_the_folder_is_named_by_the_environment_or_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name, value in (
        ("HOME", str(tmp_path)),
        ("XDG_CONFIG_HOME", "relative/is/ignored"),
        ("XDG_CONFIG_HOME", str(tmp_path / "xdg")),
        ("DERYCC_TARGETS", "mine"),
    ):
        monkeypatch.delenv("DERYCC_TARGETS", raising=False)
        monkeypatch.setenv(name, value)
        found.append(user_folder())

    assert found == [
        tmp_path / ".config/derycc/targets",
        tmp_path / ".config/derycc/targets",
        tmp_path / "xdg/derycc/targets",
        Path("mine"),
    ]


def test_without_a_home_folder_there_are_the_shipped_targets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DERYCC_TARGETS")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)

    assert [target.name for target in list_targets()] == ["cpu", "cuda", "reference"]
    assert get_target("cpu").name == "cpu"
    with pytest.raises(UsageError, match=r"no home folder to keep the target 'box' in"):
        save(BOX)


def test_a_target_of_the_users_folder_is_found_by_name(folder: Path) -> None:
    write(folder / "box.toml")

    target = get_target("box")

    assert target == Target("box", "reference", 2, precisions=("fp32", "int8"), spinning=False)
    assert str(target) == "box"
    assert str(get_target("box:threads=1")) == "box:threads=1"
    assert [item.name for item in list_targets()] == ["box", "cpu", "cuda", "reference"]


def test_all_physical_cores_are_a_number_on_this_machine(folder: Path) -> None:
    write(folder / "box.toml", TargetFile("box", "ort"))

    assert get_target("box").threads == usable_cores()
    assert get_target("reference:threads=physical").threads == usable_cores()


def test_an_unknown_target_is_answered_with_those_of_the_user_too(folder: Path) -> None:
    write(folder / "box.toml")

    with pytest.raises(UnknownNameError) as caught:
        get_target("bocks")

    assert str(caught.value) == (
        "Unknown target 'bocks'. Did you mean 'box'? Known: box, cpu, cuda, reference."
    )


def test_a_broken_file_leaves_other_targets_alone(folder: Path) -> None:
    write(folder / "box.toml")
    (folder / "broken.toml").write_text("threads = ")

    assert get_target("box").threads == 2
    assert get_target("cpu").backend == "ort"
    assert [target.name for target in list_targets()] == ["box", "cpu", "cuda", "reference"]
    with pytest.raises(UsageError, match=r"broken\.toml': it is not TOML"):
        get_target("broken")
    problems = {entry.name: entry.problem for entry in entries()}
    assert problems.keys() == {"box", "broken", "cpu", "cuda", "reference"}
    assert str(problems["broken"]).startswith(
        f"Cannot use the target file '{folder / 'broken.toml'}': it is not TOML: Invalid value"
    )


def test_a_file_must_be_called_as_its_target(folder: Path) -> None:
    write(folder / "crate.toml")

    with pytest.raises(UsageError, match=r"'name' is 'box', and the file is called crate\.toml"):
        get_target("crate")


def test_a_shipped_target_is_never_replaced_and_never_silently_kept(folder: Path) -> None:
    write(folder / "cpu.toml", replace(BOX, name="cpu"))

    with pytest.raises(UsageError, match=r"is called 'cpu', and it is never replaced\. Rename"):
        get_target("cpu:threads=1")
    assert get_target("reference").threads == 1
    assert [entry.problem is None for entry in entries()] == [True, False, True, True]
    assert remove("cpu") == folder / "cpu.toml"
    assert get_target("cpu:threads=1").threads == 1


def test_a_folder_that_cannot_be_read_is_refused_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DERYCC_TARGETS", str(tmp_path / "file"))

    assert get_target("cpu:threads=1").threads == 1
    with pytest.raises(UsageError, match=r"Cannot read the folder of targets .*: Not a directory"):
        user_files()
    with pytest.raises(UsageError, match=r"Cannot write the target .*Name a folder that can be"):
        save(BOX)


def test_a_target_may_be_a_file_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a:b.toml")
    monkeypatch.chdir(tmp_path)

    target = get_target("./a:b.toml:threads=1,precisions=int8")

    assert str(target) == f"{path}:threads=1,precisions=int8"
    assert (target.name, target.path, target.threads) == ("box", str(path), 1)
    assert get_target(str(target)) == target
    assert str(get_target(str(path))) == str(path)


def test_a_bare_file_name_is_a_path_and_a_shipped_name_in_it_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "box.toml", replace(BOX, name="cpu"))
    monkeypatch.chdir(tmp_path)

    target = get_target("box.toml")

    assert str(target) == str(tmp_path / "box.toml")
    assert target != get_target("cpu")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("cpu", ("cpu", None)),
        ("cpu:", ("cpu", "")),
        (" cpu:backend=x.toml ", ("cpu", "backend=x.toml")),
        ("box.toml:threads=1", ("box.toml", "threads=1")),
        ("/a:b/c.toml", ("/a:b/c.toml", None)),
        ("/a.toml/c.toml:threads=1", ("/a.toml/c.toml", "threads=1")),
    ],
)
def test_a_reference_ends_where_its_options_begin(text: str, parts: tuple[str, str | None]) -> None:
    assert split_reference(text) == parts


def test_a_path_must_be_that_of_a_toml_file() -> None:
    with pytest.raises(UsageError, match=r"Cannot read '\./box' as a target\. .*ends in \.toml"):
        get_target("./box")


def test_a_path_that_would_read_as_another_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "a.toml:b"
    place.mkdir()

    with pytest.raises(UsageError, match=r"'\.toml:' in its path reads as the end"):
        find(str(write(place / "box.toml")))


def test_a_target_whose_file_is_gone_is_still_written_in_full(folder: Path) -> None:
    path = write(folder / "box.toml")
    target = get_target("box")

    path.unlink()

    assert str(target) == (
        "box:backend=reference,threads=2,precisions=fp32+int8,spinning=off,affinity=any,"
        "transport=local,power_mode=any"
    )


def test_a_target_whose_file_has_changed_is_written_as_the_difference(folder: Path) -> None:
    write(folder / "box.toml")
    target = get_target("box")

    write(folder / "box.toml", replace(BOX, threads=5, power_mode="MAXN"))

    assert str(target) == "box:threads=2,power_mode=any"
    assert get_target(str(target)) == target


def test_a_saved_target_is_there_whole_and_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERYCC_TARGETS", str(tmp_path / "new" / "targets"))

    path = save(BOX)

    assert path == tmp_path / "new" / "targets" / "box.toml"
    assert read_target_file(path) == BOX
    assert list(path.parent.iterdir()) == [path]


def test_a_target_is_replaced_by_force_alone(folder: Path) -> None:
    path = write(folder / "box.toml")
    other = replace(BOX, threads=7)

    with pytest.raises(UsageError, match=r"There is a target 'box' already: .*with --force"):
        save(other)
    assert read_target_file(path) == BOX
    save(other, force=True)
    assert read_target_file(path) == other
    assert list(folder.iterdir()) == [path]


def test_a_target_that_another_process_writes_first_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder / "box.toml")
    monkeypatch.setattr(os.path, "lexists", lambda _: False)

    with pytest.raises(UsageError, match=r"There is a target 'box' already"):
        save(replace(BOX, threads=7))

    assert read_target_file(path) == BOX


@pytest.mark.parametrize("name", ["cpu", "cuda", "reference"])
def test_a_shipped_name_is_not_free(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"'{name}' comes with derycc .*e\.g\. my-{name}"):
        check_free(name, force=True)
    with pytest.raises(UsageError, match=rf"'{name}' comes with derycc and cannot be changed"):
        remove(name)


def test_only_a_target_that_is_there_is_removed(folder: Path) -> None:
    (folder / "broken.toml").write_text("?")

    assert remove("broken") == folder / "broken.toml"
    with pytest.raises(UnknownNameError, match=r"Unknown target of yours 'broken'\. Known: none"):
        remove("broken")
    (folder / "dir.toml").mkdir()
    with pytest.raises(UsageError, match=r"Cannot remove the target .*Remove the file by hand"):
        remove("dir")
