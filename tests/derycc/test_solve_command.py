"""`derycc solve`: what it prints, what it refuses, and with which exit code."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from compiler.assembly import Assembly, Status
from derycc import solving
from derycc.app import app
from tests.compiler.solver_cases import out_of_time


def arc(name: str, tail: str, head: str, score: float, us: float, kb: float = 1.0) -> Any:
    costs = {"latency_us": us, "memory_kb": kb}
    return {"id": name, "from": tail, "to": head, "score": score, "costs": costs}


PROBLEM: dict[str, Any] = {
    "format": "derycc.problem/1",
    "sense": "maximize",
    "source": "in",
    "sink": "out",
    "arcs": [
        arc("a1", "in", "a", 40.0, 500.25, 7.0),
        arc("a2", "a", "out", 41.5, 700.0, 8.0),
        arc("b1", "in", "b", 30.0, 300.0),
        arc("b2", "b", "out", 31.0, 350.5),
        arc("ab", "a", "b", 0.5, 20.0),
    ],
    "limits": {"latency_us": 1000},
    "counts": [{"arcs": ["ab"], "at_most": 1}],
}


def written(folder: Path, content: object) -> Path:
    path = folder / "problem.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode("utf-8"))
    return path


def solve(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["solve", *map(str, words)])


def refusal(result: Result, code: int = 2) -> str:
    """The paragraph of a command that ended with this exit code."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    return result.stderr.splitlines()[-1].removeprefix("derycc: ")


def test_it_prints_the_path_its_proof_and_what_is_left_of_every_limit(tmp_path: Path) -> None:
    result = solve(written(tmp_path, PROBLEM))

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:8] == [
        "status    optimal",
        "objective 71.5",
        "bound     71.5",
        "gap       0 %",
        "path      3 arcs:",
        "  a1",
        "  ab",
        "  b2",
    ]
    assert "│ latency_us │ 870.75 │  1000 │ 129.25 (12.9 %) │" in result.stdout
    assert "│ memory_kb  │      9 │     - │               - │" in result.stdout


def test_json_is_the_answer_of_the_design(tmp_path: Path) -> None:
    result = solve(written(tmp_path, PROBLEM), "--json", "--seed", "3", "--workers", "2")

    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert Assembly.from_json(result.stdout).arcs == ("a1", "ab", "b2")
    assert answer | {"wall_s": 0, "solver": ""} == {
        "format": "derycc.assembly/1",
        "status": "optimal",
        "objective": 71.5,
        "bound": 71.5,
        "gap": 0.0,
        "arcs": ["a1", "ab", "b2"],
        "costs": {"latency_us": 870.75, "memory_kb": 9.0},
        "wall_s": 0,
        "solver": "",
        "seed": 3,
    }


def test_limits_of_the_command_line_replace_those_of_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, PROBLEM)

    loose = json.loads(solve(file, "--limit", "latency_us=1200.25", "--json").stdout)
    tight = json.loads(
        solve(file, "--limit", "latency_us=2e3", "--limit", "memory_kb=8", "--json").stdout
    )

    assert loose["arcs"] == ["a1", "a2"]
    assert tight["arcs"] == ["b1", "b2"]


def test_the_best_few_come_in_order(tmp_path: Path) -> None:
    file = written(tmp_path, PROBLEM)

    shown = solve(file, "--k", "5", "--limit", "latency_us=2000")
    plain = json.loads(solve(file, "--k", "5", "--limit", "latency_us=2000", "--json").stdout)

    assert shown.stdout.splitlines()[-4:] == [
        "1: a1 a2",
        "2: a1 ab b2",
        "3: b1 b2",
        "There are only 3 such paths: proven.",
    ]
    assert (plain["status"], plain["ended"]) == ("optimal", "no more")
    assert (plain["format"], plain["k"], plain["distinct"]) == ("derycc.assemblies/1", 5, 1)
    assert [answer["objective"] for answer in plain["answers"]] == [81.5, 71.5, 61.0]


def test_answers_can_be_asked_to_differ(tmp_path: Path) -> None:
    file = written(tmp_path, PROBLEM)

    result = solve(file, "--k", "3", "--distinct", "2", "--limit", "latency_us=2000", "--json")
    three = solve(file, "--k", "3", "--distinct", "3", "--limit", "latency_us=2000", "--json")

    answers = json.loads(result.stdout)["answers"]
    assert [answer["arcs"] for answer in answers] == [["a1", "a2"], ["a1", "ab", "b2"]]
    assert len(json.loads(three.stdout)["answers"]) == 1
    shown = solve(file, "--k", "3", "--distinct", "3", "--limit", "latency_us=2000").stdout
    assert "There is only 1 such path with so many new arcs (--distinct 3): proven." in shown


def test_what_cannot_be_met_says_the_least_possible_and_what_to_relax(tmp_path: Path) -> None:
    file = written(tmp_path, PROBLEM | {"limits": {"latency_us": 600, "memory_kb": 20}})

    message = refusal(solve(file), 3)
    relaxed = solve(file, "--limit", "latency_us=650.5")

    assert message == (
        "No path from 'in' to 'out' keeps all limits. "
        "latency_us: limit 600, least possible 650.5. "
        "memory_kb: limit 20, least possible 2, but never beside the other limits. "
        "Relax latency_us to 650.5."
    )
    assert relaxed.exit_code == 0


def test_either_limit_may_be_the_one_to_relax(tmp_path: Path) -> None:
    arcs = [arc("fast", "in", "out", 1.0, 5.0, 50.0), arc("small", "in", "out", 1.0, 50.0, 5.0)]
    content = PROBLEM | {"arcs": arcs, "counts": [], "limits": {"latency_us": 9, "memory_kb": 9}}

    message = refusal(solve(written(tmp_path, content), "--k", "2"), 3)

    assert message == (
        "No path from 'in' to 'out' keeps all limits. "
        "latency_us: limit 9, least possible 5, beside the other limits 50. "
        "memory_kb: limit 9, least possible 5, beside the other limits 50. "
        "Relax latency_us to 50 or memory_kb to 50."
    )


def test_two_limits_may_both_have_to_give_way(tmp_path: Path) -> None:
    file = written(tmp_path, PROBLEM | {"limits": {"latency_us": 6, "memory_kb": 1}})

    message = refusal(solve(file), 3)

    assert message.endswith("Relax more than one limit.")


@pytest.mark.parametrize(
    ("statuses", "told"),
    [
        (
            ("optimal", "feasible"),
            "latency_us: limit 9, least possible 5, beside the other limits at most 50. "
            "memory_kb: limit 9, least possible at most 5, beside the other limits at most 50. "
            "Relax latency_us to 50 or memory_kb to 50.",
        ),
        (
            ("optimal", "unknown", "feasible", "unknown"),
            "latency_us: limit 9, least possible 5, beside the other limits unknown. "
            "memory_kb: limit 9, least possible at most 5, beside the other limits unknown. "
            "Relax one limit or several, or allow more --time-limit.",
        ),
    ],
)
def test_the_least_that_was_not_proven_in_time_is_told_as_what_is_known(
    statuses: tuple[Status, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arcs = [arc("fast", "in", "out", 1.0, 5.0, 50.0), arc("small", "in", "out", 1.0, 50.0, 5.0)]
    content = PROBLEM | {"arcs": arcs, "counts": [], "limits": {"latency_us": 9, "memory_kb": 9}}
    monkeypatch.setattr("compiler.shortfall.cheapest", out_of_time(*statuses))

    message = refusal(solve(written(tmp_path, content)), 3)

    assert message == f"No path from 'in' to 'out' keeps all limits. {told}"


def test_where_no_limit_is_to_blame_the_message_says_so(tmp_path: Path) -> None:
    counts = [{"arcs": ["a2", "b2"], "at_most": 0}]

    by_counts = refusal(solve(written(tmp_path, PROBLEM | {"counts": counts})), 3)
    by_arcs = refusal(solve(written(tmp_path, PROBLEM | {"arcs": [], "counts": []})), 3)

    assert by_counts == (
        "There is no path from 'in' to 'out' that keeps the counts, whatever the limits. "
        "Add arcs, or relax counts."
    )
    assert by_arcs == "There is no path from 'in' to 'out', whatever the limits. Add arcs."


def test_counts_that_nothing_can_keep_are_named(tmp_path: Path) -> None:
    counts = [
        {"arcs": ["a2"], "at_most": 1},
        {"arcs": ["ab"], "at_least": 2},
        {"arcs": ["a1", "b1"], "at_least": 2, "at_most": 1},
    ]

    message = refusal(solve(written(tmp_path, PROBLEM | {"counts": counts})), 3)

    assert message == (
        "There is no path from 'in' to 'out' that keeps the counts: counts[1] wants at least 2 of "
        "1 arc; counts[2] wants at least 2 and at most 1 arcs. Correct that."
    )


def test_json_says_that_there_is_no_path_and_the_least_possible(tmp_path: Path) -> None:
    file = written(tmp_path, PROBLEM | {"limits": {"latency_us": 600}})

    one, many = solve(file, "--json"), solve(file, "--json", "--k", "2")

    said = json.loads(one.stdout)
    assert (one.exit_code, many.exit_code) == (3, 3)
    assert (said["format"], said["status"], said["arcs"]) == (
        "derycc.assembly/1",
        "infeasible",
        [],
    )
    (short,) = said["shortfalls"]
    assert (short["resource"], short["limit"], short["least"]) == ("latency_us", 600, 650.5)
    assert one.stderr == f"derycc: {said['message']}\n"
    assert Assembly.from_json(one.stdout).status == "infeasible"
    several = json.loads(many.stdout)
    assert (several["status"], several["answers"]) == ("infeasible", [])
    assert several["shortfalls"] == said["shortfalls"]


def test_json_says_that_time_ran_out(tmp_path: Path) -> None:
    arcs = [arc(f"{i}.{j}", f"n{i}", f"n{j}", 1.0, 1.0) for i in range(5) for j in range(5)]
    content = PROBLEM | {"arcs": arcs, "counts": [], "source": "n0", "sink": "n4"}

    result = solve(written(tmp_path, content), "--time-limit", "1e-9", "--json")

    assert result.exit_code == 2
    assert json.loads(result.stdout)["status"] == "unknown"


def test_a_limit_on_what_no_arc_costs_is_refused(tmp_path: Path) -> None:
    message = refusal(solve(written(tmp_path, PROBLEM | {"limits": {"latencyus": 1000}})))

    assert message.endswith(
        "is not usable: Unknown resource in limits 'latencyus'. Did you mean 'latency_us'? "
        "Known: latency_us, memory_kb."
    )


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({"sink": "zz"}, "No arc leads to the sink 'zz'; did you mean 'out'? Correct the sink,"),
        ({"sink": "outt"}, "No arc leads to the sink 'outt'; did you mean 'out'?"),
        ({"source": "zz"}, "No arc leaves the source 'zz'; did you mean 'in'? Correct the source,"),
    ],
)
def test_an_end_that_no_arc_touches_is_refused(
    tmp_path: Path, ends: dict[str, str], said: str
) -> None:
    message = refusal(solve(written(tmp_path, PROBLEM | ends)))

    assert said in message


def test_options_that_contradict_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, PROBLEM)

    twice = refusal(solve(file, "--limit", "latency_us=900", "--limit", "latency_us=800"))
    alone = refusal(solve(file, "--distinct", "2"))

    assert twice == "--limit bounds 'latency_us' twice. Give it once."
    assert alone.startswith("--distinct 2 says how far several answers differ, and one is asked")


def test_a_time_limit_that_proves_nothing_is_told(tmp_path: Path) -> None:
    arcs = [arc(f"{i}.{j}", f"n{i}", f"n{j}", 1.0, 1.0) for i in range(5) for j in range(5)]
    content = PROBLEM | {"arcs": arcs, "counts": [], "source": "n0", "sink": "n4"}

    message = refusal(solve(written(tmp_path, content), "--time-limit", "1e-9"))

    assert message.startswith("In 1e-09 s no path that keeps all limits was found, and none was")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency_us", "--limit 'latency_us' has no '='. Give RESOURCE=NUMBER: latency_us=9000."),
        ("latency_us=fast", "--limit 'latency_us=fast': 'fast' is no number."),
        ("latency_us=-1", "--limit 'latency_us=-1': give a finite number that is not negative."),
        ("latency_us=nan", "--limit 'latency_us=nan': give a finite number"),
        ("latency=5", "Unknown resource 'latency'. Did you mean 'latency_us'?"),
    ],
)
def test_a_limit_that_cannot_be_read_is_refused(tmp_path: Path, text: str, said: str) -> None:
    message = refusal(solve(written(tmp_path, PROBLEM), "--limit", text))

    assert message.startswith(said)


def test_a_search_that_takes_long_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with solving.told_after(0.0, "Still searching ..."):
        time.sleep(0.2)
    with solving.told_after(60.0, "never said"):
        pass

    assert capsys.readouterr().err == "Still searching ...\n"


def changed(**changes: Any) -> str:
    return json.dumps(PROBLEM | changes)


HOSTILE: dict[str, tuple[str, str]] = {
    "empty": ("", "is not JSON: Expecting value at line 1, column 1."),
    "not JSON": ("latency: 5", "is not JSON: Expecting value at line 1, column 1."),
    "cut off": (changed()[:-9], "is not JSON: "),
    "NaN": (changed().replace("41.5", "NaN"), "arcs[1].score is nan: "),
    "infinite": (changed().replace("41.5", "-Infinity"), "arcs[1].score is -inf: "),
    "1e999": (changed().replace("41.5", "1e999"), "arcs[1].score is inf: "),
    "1e308": (
        changed().replace("41.5", "1e308").replace("40.0", "1e308"),
        "The scores of the 5 arcs are too large to be added up. Give them in a larger unit.",
    ),
    "10 to the 350": (changed().replace("41.5", "1" + "0" * 350), "arcs[1].score is 1"),
    "10 to the 400": (changed().replace("41.5", "1" + "0" * 400), "a whole number has 401 digits."),
    "10 to the 9000": (changed().replace("41.5", "9" * 9000), "a whole number has 9000 digits."),
    "negative cost": (changed().replace("700.0", "-700.0"), "arcs[1].costs.latency_us is -700.0"),
    "text for a number": (changed().replace("41.5", '"41.5"'), "arcs[1].score is '41.5': "),
    "arcs by name": (changed(arcs={"a": 1}), "arcs is {'a': 1}: "),
    "an unknown arc": (
        changed(counts=[{"arcs": ["zz"], "at_most": 1}]),
        "counts[0] names 'zz', but no arc has such an id.",
    ),
    "a repeated id": (changed().replace('"a2"', '"a1"'), "Two arcs have the id 'a1'."),
    "a repeated key": (
        changed().replace('"score": 41.5', '"score": 41.5, "score": 99'),
        "an object has the key 'score' twice. Give every key once.",
    ),
    "a repeated resource": (
        changed().replace('"memory_kb": 8.0', '"latency_us": 1.0'),
        "an object has the key 'latency_us' twice.",
    ),
    "deep": ("[" * 10**6, "is nested too deeply. Give a derycc.problem/1 file."),
    "deep inside": (
        changed().replace("41.5", "[" * 10**5 + "]" * 10**5),
        "is nested too deeply.",
    ),
    "another format": (changed(format="x" * 999), "has the format 'xxx"),
    "thousands of faults": (
        changed(arcs=[{"id": i} for i in range(50_000)]),
        "arcs[0].id is 0: ",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_clear_error(tmp_path: Path, name: str) -> None:
    text, said = HOSTILE[name]
    started = time.monotonic()

    message = refusal(solve(written(tmp_path, text)))

    assert said in message
    assert len(message) < 700
    assert time.monotonic() - started < 10


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(range(256)) * 1000)

    assert "is not text: byte 128 is not UTF-8." in refusal(solve(path))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(solve(tmp_path)).startswith(f"Cannot read the problem file '{tmp_path}': ")


CHILD = (
    "import sys\n"
    "from pathlib import Path\n"
    "from derycc.cli import main\n"
    "try:\n    main()\n"
    # Unlike that of getrusage, this peak does not begin with the parent's.
    "finally:\n    print(Path('/proc/self/status').read_text(), file=sys.stderr)"
)


@pytest.mark.parametrize("finish", ["]}", ""], ids=["whole", "cut off"])
def test_200_megabytes_of_arcs_are_refused_within_seconds_and_bounded_memory(
    tmp_path: Path, finish: str
) -> None:
    path = tmp_path / "huge.json"
    one = json.dumps(PROBLEM["arcs"][0]) + ","
    with path.open("w", encoding="utf-8") as file:
        file.write(changed(arcs=[])[:-1] + ', "arcs": [')
        for _ in range(20):
            file.write(one * (10_000_000 // len(one)))
        file.write(one[:-1] + finish)

    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", CHILD, "solve", str(path)], capture_output=True, text=True
    )

    said, *status = result.stderr.splitlines()
    (peak_kb,) = (line.split()[1] for line in status if line.startswith("VmHWM"))
    assert result.returncode == 2
    assert said.endswith(
        "is larger than 128 MiB, which is the most that is read. "
        "Leave out what no answer would use, or split it."
    )
    assert int(peak_kb) < 500_000
    assert time.monotonic() - started < 30


def test_a_file_that_never_ends_is_not_read_to_the_end() -> None:
    assert "is larger than 128 MiB" in refusal(solve("/dev/zero"))


def test_a_name_that_cannot_be_written_is_refused_before_anything_is_printed(
    tmp_path: Path,
) -> None:
    arcs = [arc("\ud800", "in", "out", 1.0, 1.0)]

    said = refusal(solve(written(tmp_path, {**PROBLEM, "arcs": arcs, "counts": []})))

    assert "has \\ud800, which is half a character" in said
