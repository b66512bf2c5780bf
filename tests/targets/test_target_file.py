from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.errors import UsageError
from targets.target_file import FORMAT, TargetFile, parse_target_file, read_target_file

HEAD = 'format = "derycc.target/1"\nname = "box"\nbackend = "ort"\n'
ALL = TargetFile(
    name="box",
    backend="ort",
    threads=2,
    affinity=(1, 0),
    spinning=False,
    precisions=("fp32", "int8"),
    power_mode="MAXN",
    description='The "box" in the corner',
)


@st.composite
def files(draw: st.DrawFn) -> TargetFile:
    pinned = tuple(draw(st.lists(st.integers(0, 999), max_size=5, unique=True)))
    threads: int | Literal["physical"] = (
        len(pinned) if pinned else draw(st.one_of(st.just("physical"), st.integers(1, 999)))
    )
    known = st.sampled_from(["fp32", "fp16", "int8", "bf16"])
    line = st.text(max_size=20).filter(str.isprintable)
    return TargetFile(
        name=draw(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)),
        backend=draw(st.sampled_from(["ort", "my.backend-2"])),
        threads=threads,
        affinity=pinned,
        spinning=draw(st.booleans()),
        precisions=tuple(draw(st.lists(known, min_size=1, unique=True))),
        power_mode=draw(st.sampled_from([None, "MAXN", "mode 0", "MAXN SUPER", "low-power"])),
        description=draw(line),
    )


@given(files())
def test_a_file_is_written_as_a_text_that_reads_as_it(file: TargetFile) -> None:
    assert parse_target_file(file.to_toml()) == file


def test_a_file_is_written_key_by_key() -> None:
    assert ALL.to_toml() == (
        'format = "derycc.target/1"\n'
        'name = "box"\n'
        'backend = "ort"\n'
        "threads = 2\n"
        "affinity = [1, 0]\n"
        "spinning = false\n"
        'precisions = ["fp32", "int8"]\n'
        'power_mode = "MAXN"\n'
        'description = "The \\"box\\" in the corner"\n'
        "\n"
        "[transport]\n"
        'kind = "local"\n'
    )


def test_what_is_left_out_has_its_default() -> None:
    file = parse_target_file(HEAD)

    assert file == TargetFile("box", "ort")
    assert (file.threads, file.affinity, file.spinning) == ("physical", (), True)
    assert (file.precisions, file.power_mode, file.description) == (("fp32",), None, "")
    assert file.transport.kind == "local"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("thread = 2", "Unknown key 'thread'. Did you mean 'threads'? Known: affinity, backend, "),
        (
            '[transport]\nkind = "local"\nhost = "x"',
            "Unknown key of [transport] 'host'. Known: kind.",
        ),
        (
            '[transport]\nkind = "pigeon"',
            "the key 'transport.kind' is 'pigeon'. Use \"local\".",
        ),
        (
            'transport = "local"',
            "the key 'transport' is 'local'. Use a table [transport] with kind = \"local\".",
        ),
        (
            'threads = "two"',
            "the key 'threads' is 'two'. Use \"physical\" (all physical cores that may be used) or "
            "a whole number from 1 up.",
        ),
        ("threads = true", "the key 'threads' is True. Use \"physical\" (all"),
        ("threads = 2.0", "the key 'threads' is 2.0. Use \"physical\" (all"),
        ("threads = nan", "the key 'threads' is nan. Use \"physical\" (all"),
        (
            "threads = 0",
            "the key 'threads': Cannot use 0 threads. Use a whole number from 1 to 4096.",
        ),
        ('spinning = "on"', "the key 'spinning' is 'on'. Use true or false."),
        ('affinity = "0"', "the key 'affinity' is '0'. Use a list of processor numbers, one a"),
        ("affinity = [0]", "the key 'affinity': Cannot pin all physical cores to the processors"),
        (
            "threads = 2\naffinity = [0]",
            "the key 'affinity': Cannot pin 2 threads to the processors [0]. Name one different",
        ),
        ('precisions = "int8"', "the key 'precisions' is 'int8'. Use a list of names, e.g."),
        (
            'precisions = ["fp23"]',
            "the key 'precisions': Unknown precision 'fp23'. Did you mean 'fp32' or",
        ),
        ("precisions = []", "the key 'precisions': Cannot use the precisions (). Name each once"),
        ("precisions = 1979-05-27", "the key 'precisions': Unknown precision '1979-05-27'."),
        ("power_mode = 15", "the key 'power_mode' is 15. Use the name of a power mode, e.g."),
        ('power_mode = "any"', "the key 'power_mode': Cannot use 'any' as a power mode. Use the"),
        ('power_mode = "a,b=c"', "the key 'power_mode': Cannot use 'a,b=c' as a power mode."),
        ('description = "a\\nb"', "the key 'description': Cannot use 'a\\nb' as a description."),
        ("threads =", "it is not TOML: Invalid value (at line 4, column 10). Correct it there."),
    ],
)
def test_what_cannot_be_is_named_with_its_key_and_what_is_allowed(lines: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target_file(f"{HEAD}{lines}\n", "the target file 'box.toml'")

    assert str(caught.value).startswith(f"Cannot use the target file 'box.toml': {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'it has no format. This version of derycc reads format = "derycc.target/1"'),
        ('format = "derycc.target/2"', "it has the format 'derycc.target/2'. This version of"),
        ('format = "derycc.target/1"\nname = "box"', "the key 'backend' is missing. It is the"),
        (HEAD.replace("box", "Box"), "the key 'name': Cannot use 'Box' as a target's name."),
        (HEAD.replace("box", "box.toml"), "the key 'name': Cannot use 'box.toml' as a target's"),
        (HEAD.replace("ort", "O R T"), "the key 'backend': Cannot use 'O R T' as a backend's"),
        (HEAD + f"affinity = {'[' * 3000}", "it is not TOML: "),
    ],
)
def test_a_file_of_another_format_or_without_a_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target_file(text)

    assert str(caught.value).startswith(f"Cannot use the target: {message}")


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(UsageError, match=r"the key 'name' is \['a{55}\.\.\.\. Use a text"):
        parse_target_file(HEAD.replace('"box"', f'["{"a" * 99}"]'))


def test_a_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_bytes(b'name = "\xff"')

    with pytest.raises(UsageError, match=r"box\.toml': byte 8 is not UTF-8\. Save it as TOML"):
        read_target_file(tmp_path / "box.toml")
    with pytest.raises(UsageError, match=r"no\.toml': No such file or directory\. Give the path"):
        read_target_file(tmp_path / "no.toml")


def test_values_are_checked_wherever_a_file_is_made() -> None:
    wrong: dict[str, Any] = {"threads": -1}

    with pytest.raises(UsageError, match=r"Cannot use -1 threads"):
        replace(ALL, **wrong)


@pytest.mark.parametrize(
    "value",
    [
        "[" * 201 + "]" * 201,
        "[" * 5000 + "]" * 5000,
        "9" * 5000,
        "0x" + "f" * 5000,
    ],
    ids=["nested", "nested deeply", "long", "long in hexadecimal"],
)
def test_values_beyond_all_measure_are_refused(value: str) -> None:
    text = f'format = "{FORMAT}"\nname = "a"\nbackend = "ort"\ndescription = {value}\n'

    with pytest.raises(UsageError, match=r"Cannot use the target: .*Correct it"):
        parse_target_file(text)


@pytest.mark.parametrize("threads", [0, 4097])
def test_threads_that_no_machine_has_are_refused(threads: int) -> None:
    with pytest.raises(UsageError, match=rf"Cannot use {threads} threads. .* from 1 to 4096"):
        TargetFile("a", "ort", threads=threads)
