"""The problem file: what is read, what is refused, and what the messages say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.problem import Arc, CountLimit, Problem
from targets.errors import UsageError

NAMES = st.text(min_size=1, max_size=5)
# Runtimes that ran before in this process may flush subnormal numbers to zero.
SCORES = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
AMOUNTS = st.dictionaries(NAMES, SCORES.map(abs), max_size=3).map(
    lambda amounts: tuple(amounts.items())
)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    ids = draw(st.lists(NAMES, unique=True, max_size=6))
    arcs = tuple(Arc(i, draw(NAMES), draw(NAMES), draw(SCORES), draw(AMOUNTS)) for i in ids)
    sets = st.lists(st.sampled_from(ids), unique=True).map(tuple) if ids else st.just(())
    times = st.integers(0, 2**40)
    count = st.builds(CountLimit, sets, times, st.none() | times)
    sense = st.sampled_from(["maximize", "minimize"])
    counts = tuple(draw(st.lists(count, max_size=2)))
    return Problem(draw(sense), "in", "out", arcs, draw(AMOUNTS), counts)


def content(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "format": "derycc.problem/1",
        "sense": "maximize",
        "source": "in",
        "sink": "out",
        "arcs": [
            {"id": "a", "from": "in", "to": "m", "score": 12.5, "costs": {"latency_us": 910.25}},
            {"id": "b", "from": "m", "to": "out", "score": -1, "costs": {"memory_bytes": 7}},
        ],
        "limits": {"latency_us": 10000},
        "counts": [{"arcs": ["a", "b"], "at_most": 3}, {"arcs": ["b"], "at_least": 1}],
    }
    return {name: value for name, value in {**base, **changes}.items() if value is not ...}


def arc(**changes: Any) -> dict[str, Any]:
    base = {"id": "a", "from": "in", "to": "out", "score": 1.0, "costs": {"latency_us": 1.0}}
    return {name: value for name, value in {**base, **changes}.items() if value is not ...}


def test_a_problem_file_is_read_as_the_design_states_it(tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(content()), encoding="utf-8")

    problem = Problem.load(path)

    assert problem == Problem(
        sense="maximize",
        source="in",
        sink="out",
        arcs=(
            Arc("a", "in", "m", 12.5, (("latency_us", 910.25),)),
            Arc("b", "m", "out", -1.0, (("memory_bytes", 7.0),)),
        ),
        limits=(("latency_us", 10000.0),),
        counts=(CountLimit(("a", "b"), at_most=3), CountLimit(("b",), at_least=1)),
    )


def test_limits_counts_and_costs_may_be_left_out() -> None:
    text = json.dumps(content(arcs=[arc(costs=...)], limits=..., counts=...))

    problem = Problem.from_json(text)

    assert problem == Problem("maximize", "in", "out", (Arc("a", "in", "out", 1.0),))


@given(problems())
def test_writing_and_reading_a_problem_gives_an_equal_one(problem: Problem) -> None:
    again = Problem.from_json(problem.to_json())

    assert again == problem


def test_a_written_problem_holds_the_keys_of_the_format() -> None:
    problem = Problem.from_json(json.dumps(content()))

    written = json.loads(problem.to_json())

    assert written == content()


def test_resources_are_all_that_are_named_anywhere() -> None:
    problem = Problem.from_json(json.dumps(content(limits={"macs": 1})))

    assert problem.resources == ("latency_us", "macs", "memory_bytes")
    assert [each.cost("latency_us") for each in problem.arcs] == [910.25, 0.0]


BAD_CONTENT = {
    "no format": (content(format=...), 'has no format; this version reads "format": "derycc.prob'),
    "a newer format": (content(format="derycc.problem/2"), "has the format 'derycc.problem/2'"),
    "a list": ([1, 2], "has no format"),
    "no source": (content(source=...), "source is missing. Add it."),
    "an unknown key": (content(limit={}), "limit is not part of the format. Correct its name"),
    "an unknown sense": (content(sense="maximise"), "sense is 'maximise': "),
    "a text as a score": (content(arcs=[arc(score="1")]), "arcs[0].score is '1': "),
    "a truth value as a score": (content(arcs=[arc(score=True)]), "arcs[0].score is True: "),
    "a score that is not a number": (content(arcs=[arc(score=float("nan"))]), "arcs[0].score is"),
    "an arc without an end": (content(arcs=[arc(), arc(to=...)]), "arcs[1].to is missing. Add it."),
    "an unknown arc key": (content(arcs=[arc(cost={})]), "arcs[0].cost is not part of the format"),
    "a negative cost": (
        content(arcs=[arc(costs={"latency_us": -1})]),
        "arcs[0].costs.latency_us is -1: input should be greater than or equal to 0. Correct it.",
    ),
    "an infinite limit": (content(limits={"macs": float("inf")}), "limits.macs is"),
    "half a count": (content(counts=[{"arcs": ["a"], "at_most": 0.5}]), "counts[0].at_most is 0.5"),
    "a negative count": (content(counts=[{"arcs": ["a"], "at_most": -1}]), "counts[0].at_most is"),
    "a count without a bound": (
        content(counts=[{"arcs": ["a"]}]),
        "The count over 'a' has no bound. Give it at_most or at_least.",
    ),
    "a count of unknown arcs": (
        content(counts=[{"arcs": ["a", "z"], "at_most": 1}]),
        "counts[0] names 'z', but no arc has such an id. Correct the id, or add the arc.",
    ),
    "a count that names an arc twice": (
        content(counts=[{"arcs": ["a", "a", "b", "b"], "at_most": 1}]),
        "The count over 'a', 'a', 'b' and 1 more names 'a' twice. Name each arc once.",
    ),
    "two arcs of one id": (content(arcs=[arc(), arc()], counts=[]), "Two arcs have the id 'a'."),
    "a source that is the sink": (content(sink="in"), "Source and sink are both 'in'."),
    "two faults": (content(source=1, sink=2), "(1 more like it follow.)"),
}


@pytest.mark.parametrize(("bad", "said"), BAD_CONTENT.values(), ids=BAD_CONTENT.keys())
def test_a_bad_file_is_refused_with_its_name_and_the_place(
    tmp_path: Path, bad: object, said: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(bad), encoding="utf-8")

    with pytest.raises(UsageError) as caught:
        Problem.load(path)

    assert str(caught.value).startswith(f"The problem file '{path}' ")
    assert said in str(caught.value)


def test_text_that_is_not_json_is_refused_with_the_line() -> None:
    with pytest.raises(UsageError, match=r"is not JSON: Expecting .* at line 2, column 1\. Corre"):
        Problem.from_json('{"format":\n}')


def test_text_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(UsageError, match=r"derycc\.problem/1"):
        Problem.from_json("[" * 200_000)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read the problem file .*: No such file or direc"):
        Problem.load(tmp_path / "absent.json")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"\x93\xff")

    with pytest.raises(UsageError, match="is not text: byte 0 is not UTF-8"):
        Problem.load(path)


def test_values_are_checked_where_they_are_made() -> None:
    good = Problem("maximize", "in", "out", (Arc("a", "in", "out", 1.0),))

    with pytest.raises(UsageError, match="Arc 'a' has the score nan"):
        Arc("a", "in", "out", float("nan"))
    with pytest.raises(UsageError, match=r"Arc 'a' has the cost -1\.0 of 'macs'"):
        Arc("a", "in", "out", 1.0, (("macs", -1.0),))
    with pytest.raises(UsageError, match="Arc 'a' has two costs of 'macs'"):
        Arc("a", "in", "out", 1.0, (("macs", 1.0), ("macs", 2.0)))
    with pytest.raises(UsageError, match="at_least -1"):
        CountLimit(("a",), at_least=-1)
    with pytest.raises(UsageError, match="The sense is 'best'"):
        replace(good, sense="best")
    with pytest.raises(UsageError, match="The problem has the limit inf of 'macs'"):
        replace(good, limits=(("macs", float("inf")),))


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(content()), encoding="utf-8")
    size = path.stat().st_size

    monkeypatch.setattr("compiler.problem.MOST_BYTES", size)
    read = Problem.load(path)
    monkeypatch.setattr("compiler.problem.MOST_BYTES", size - 1)

    assert len(read.arcs) == 2
    with pytest.raises(UsageError, match=r"is larger than 0 MiB, which is the most that is read\."):
        Problem.load(path)


def test_a_key_that_comes_twice_is_refused() -> None:
    text = json.dumps(content()).replace('"score": -1', '"score": -1, "score": 2')

    with pytest.raises(UsageError, match=r"has the key 'score' twice\. Give every key once\."):
        Problem.from_json(text)


@pytest.mark.parametrize(
    "bad",
    [
        content(arcs=[arc(id="\ud800")], counts=[]),
        content(source="\ud800"),
        content(limits={"\ud800": 1}),
        content(arcs=[arc(costs={"\ud800": 1})], counts=[]),
        content(**{"\ud800": 1}),
    ],
)
def test_half_a_character_is_refused_where_the_file_is_read(bad: object) -> None:
    with pytest.raises(UsageError) as caught:
        Problem.from_json(json.dumps(bad), where="The problem file 'p.json'")

    assert str(caught.value) == (
        "The problem file 'p.json' has \\ud800, which is half a character: no text can be written "
        "with it. Give the whole character, or another name."
    )


def test_two_escaped_halves_that_make_a_character_are_read() -> None:
    read = Problem.from_json(json.dumps(content(arcs=[arc(id="\U0001f600")], counts=[])))

    assert read.arcs[0].id == "\U0001f600"


@pytest.mark.parametrize("place", ["id", "tail", "cost", "source", "limit"])
def test_half_a_character_is_refused_where_a_problem_is_made(place: str) -> None:
    names = {**dict.fromkeys(("id", "tail", "cost", "source", "limit"), "in"), place: "a\udfff"}
    only = Arc(names["id"], names["tail"], "out", 1.0, ((names["cost"], 1.0),))

    with pytest.raises(UsageError, match=r"The name 'a\\udfff' has \\udfff, which is half a chara"):
        Problem("maximize", names["source"], "out", (only,), ((names["limit"], 1.0),))
