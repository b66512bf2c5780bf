"""`derycc targets` and `derycc doctor --target`: what they print, write and refuse."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import Result
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from backends.model import ExportedModel
from backends.trt_process import PYTHON
from derycc.app import app
from derycc.doctor import diagnose
from profilers.profile import profile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.accelerators import Jetson
from targets.facts import Facts
from targets.target import get_target
from targets.target_file import TargetFile, read_target_file

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

BOX = TargetFile("box", "reference", threads=2, spinning=False, description="A box")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of targets, empty."""
    made = tmp_path / "targets"
    made.mkdir()
    monkeypatch.setenv("DERYCC_TARGETS", str(made))
    return made


def derycc(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def said(*words: str | Path, code: int = 0) -> str:
    result = derycc(*words)
    assert result.exit_code == code, result.output
    return result.stdout


def refusal(*words: str | Path, code: int = 2) -> str:
    """The one paragraph of a command that was refused with this exit code."""
    result = derycc(*words)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return result.stderr.removeprefix("derycc: ").rstrip("\n")


def write(path: Path, file: TargetFile = BOX) -> Path:
    path.write_text(file.to_toml())
    return path


def cells(text: str) -> list[list[str]]:
    rows = [line.strip("│").split("│") for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows]


def test_targets_are_listed_with_what_is_missing(folder: Path) -> None:
    write(folder / "box.toml")
    write(folder / "gpu.toml", TargetFile("gpu", "trtt", threads=1))
    (folder / "torn.toml").write_text("threads =")

    listed = json.loads(said("targets", "list", "--json"))

    assert [row["name"] for row in listed] == ["box", "cpu", "cuda", "gpu", "reference", "torn"]
    assert listed[0] == {
        "name": "box",
        "source": "user",
        "path": str(folder / "box.toml"),
        "description": "A box",
        "backend": "reference",
        "threads": 2,
        "precisions": ["fp32"],
        "spinning": False,
        "affinity": [],
        "transport": "local",
        "power_mode": None,
        "ready": True,
        "problems": [],
    }
    del listed[2]  # whether it is ready depends on the machine
    assert [row["ready"] for row in listed] == [True, True, False, True, False]
    assert "Unknown backend 'trtt'." in listed[2]["problems"][0]
    assert "it is not TOML" in listed[4]["problems"][0]


def test_targets_are_listed_for_people(folder: Path) -> None:
    write(folder / "gpu.toml", TargetFile("gpu", "trtt", threads=1))
    (folder / "torn.toml").write_text("threads =")

    text = said("targets", "list")

    rows = {row[0]: row for row in cells(text) if row[0]}
    assert rows["reference"][1:5] == ["reference", "1", "fp32", "shipped"]
    assert rows["reference"][-1] == "ready"
    assert rows["gpu"][-1] == "missing: see below"
    assert rows["torn"][1:4] == ["-", "-", "-"]
    assert rows["torn"][-1] == "broken: see below"
    lines = text.splitlines()
    assert lines[-3].startswith("gpu: Unknown backend 'trtt'.")
    assert lines[-2].startswith(f"torn: Cannot use the target file '{folder / 'torn.toml'}': it is")
    assert lines[-1] == "Options follow a colon: cpu:threads=1,spinning=off"


def test_doctor_lists_what_can_be_used_and_what_cannot(folder: Path, tmp_path: Path) -> None:
    write(folder / "box.toml")
    (folder / "torn.toml").write_text("threads =")

    found = diagnose(tmp_path)

    assert found.targets[0] == "box: backend reference, threads 2"
    assert found.targets[-1] == "torn: its file cannot be used; derycc targets list says why"
    assert found.problems == ()


def test_a_target_is_shown_with_its_file_and_its_settings(folder: Path) -> None:
    path = write(folder / "box.toml")

    assert said("targets", "show", "box:threads=1") == (
        f"# {path}\n"
        f"{BOX.to_toml()}\n"
        "On this machine, as 'box:threads=1':\n"
        "  backend           reference\n"
        "  threads           1\n"
        "  precisions        fp32\n"
        "  spinning          off\n"
        "  affinity          any\n"
        "  transport         local\n"
        "  power mode        any\n"
    )
    assert said("targets", "show", "cpu").startswith("# shipped with derycc\nformat = ")


def test_a_target_is_shown_as_json(tmp_path: Path) -> None:
    path = write(tmp_path / "elsewhere.toml")

    found = json.loads(said("targets", "show", path, "--json"))

    assert found["target"] == found["path"] == str(path)
    assert found["source"] == "path"
    assert found["toml"] == BOX.to_toml()
    assert found["file"]["transport"] == {"kind": "local"}
    assert found["settings"]["threads"] == 2
    assert "Did you mean" in refusal("targets", "show", "cpuu")


def test_a_target_is_added_out_of_options(folder: Path) -> None:
    words = "--backend reference --threads 2 --affinity 1+0 --precisions fp32+int8 --spinning off"
    words += " --power-mode any --description Mine"

    text = said("targets", "add", "mine", *words.split())

    assert text == f"Written: {folder / 'mine.toml'}\n"
    assert read_target_file(folder / "mine.toml") == TargetFile(
        "mine",
        "reference",
        threads=2,
        affinity=(1, 0),
        precisions=("fp32", "int8"),
        spinning=False,
        description="Mine",
    )


def test_a_target_without_options_is_onnx_runtime_on_all_cores(folder: Path) -> None:
    assert (
        said("targets", "add", "mine", "--power-mode", "MAXN 9")
        .splitlines()[1]
        .startswith("Note: The target asks for the power mode 'MAXN 9', and this machine ")
    )

    assert read_target_file(folder / "mine.toml") == TargetFile("mine", "ort", power_mode="MAXN 9")


def test_a_target_may_start_from_another_or_from_a_file(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "elsewhere.toml")

    said("targets", "add", "copy", "--from", path)
    said("targets", "add", "wide", "--from", "copy", "--threads", "physical")

    assert read_target_file(folder / "copy.toml") == TargetFile(
        "copy", "reference", threads=2, spinning=False, description="A box"
    )
    assert read_target_file(folder / "wide.toml") == TargetFile(
        "wide", "reference", threads="physical", spinning=False
    )


def test_a_dry_run_prints_the_file_and_writes_nothing(folder: Path) -> None:
    text = said("targets", "add", "box", "--from", "reference", "--threads", "2", "--dry-run")

    assert text == (
        f"# {folder / 'box.toml'} (not written: --dry-run)\n"
        f"{TargetFile('box', 'reference', threads=2).to_toml()}"
    )
    assert list(folder.iterdir()) == []


def test_a_target_is_replaced_by_force_alone(folder: Path) -> None:
    said("targets", "add", "box")

    for more in ([], ["--dry-run"]):
        assert refusal("targets", "add", "box", "--threads", "1", *more) == (
            f"There is a target 'box' already: '{folder / 'box.toml'}'. Choose another name, or "
            "replace it with --force."
        )
    said("targets", "add", "box", "--threads", "1", "--force")
    assert read_target_file(folder / "box.toml").threads == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cpu"], "The target 'cpu' comes with derycc and cannot be changed or removed. Choose"),
        (["Box"], "the key 'name': Cannot use 'Box' as a target's name."),
        (["box", "--threads", "two"], "Cannot read 'two' as a number of threads."),
        (["box", "--spinning", "maybe"], "Cannot read 'maybe' as a switch."),
        (["box", "--affinity", "0"], "the key 'affinity': Cannot pin all physical cores to the"),
        (["box", "--precisions", "fp23"], "the key 'precisions': Unknown precision 'fp23'."),
        (["box", "--from", "nobody"], "Unknown target 'nobody'."),
        (
            ["box", "--from", "cpu:threads=1"],
            "Cannot start from 'cpu:threads=1': options have names of their own here. Write "
            "--from cpu and, e.g., --threads 1.",
        ),
    ],
)
def test_what_cannot_be_added_is_refused(folder: Path, words: list[str], message: str) -> None:
    assert refusal("targets", "add", *words).startswith(message)
    assert list(folder.iterdir()) == []


def test_a_target_is_removed(folder: Path) -> None:
    write(folder / "box.toml")

    assert said("targets", "remove", "box") == f"Removed {folder / 'box.toml'}.\n"
    assert refusal("targets", "remove", "box") == "Unknown target of yours 'box'. Known: none."
    assert "'cpu' comes with derycc" in refusal("targets", "remove", "cpu")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU and a processor with VNNI."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "NVIDIA L4, 23034, 8.9"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    facts = Facts(cores=2, processors=(0, 1), smt="off", flags=("avx512_vnni",), quota=None)
    monkeypatch.setattr("targets.detection.Facts.read", lambda root: facts)
    monkeypatch.setattr("targets.detection.jetson", lambda root: None)
    monkeypatch.setattr("targets.detection.has_tensorrt", lambda: False)


@pytest.mark.usefixtures("machine")
def test_what_is_detected_is_proposed_and_not_written(folder: Path) -> None:
    text = said("targets", "detect")

    lines = text.splitlines()
    assert lines[:7] == [
        "cores             2 physical, 2 logical processors",
        "threads a core    1",
        "quota             none",
        "int8 instructions avx512_vnni",
        "power mode        unknown",
        "GPU               NVIDIA L4",
        "TensorRT          not installed",
    ]
    assert 'name = "one-core"' in lines
    assert "# precisions: int8 too: the processor has avx512_vnni, so that it pays." in lines
    assert 'name = "l4"' in lines
    assert lines[-1] == "Nothing was written: derycc targets detect --add writes what is ready."
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("machine")
def test_what_is_ready_is_added_once(folder: Path) -> None:
    first = said("targets", "detect", "--add").splitlines()
    write(folder / "one-core.toml", TargetFile("one-core", "ort", threads=1))
    again = json.loads(said("targets", "detect", "--add", "--json"))

    assert first[-2:] == [
        f"Written: {folder / 'one-core.toml'}",
        f"Written: {folder / 'all-cores.toml'}",
    ]
    assert (again["added"], again["kept"]) == ([], ["one-core", "all-cores"])
    assert get_target("all-cores").precisions == ("fp32", "int8")
    assert get_target("one-core").precisions == ("fp32",)
    assert [proposal["name"] for proposal in again["proposals"]] == ["one-core", "all-cores", "l4"]
    assert again["gpus"] == [{"name": "NVIDIA L4", "memory_mib": 23034, "compute": 8.9}]
    assert len(again["proposals"][2]["missing"]) >= 1
    assert said("targets", "detect", "--add").endswith("left as it is: all-cores\n")


@pytest.mark.usefixtures("machine")
def test_a_board_is_named_and_what_is_unknown_is_called_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = Facts(cores=1, processors=(0,), quota=1.5)
    monkeypatch.setattr("targets.detection.Facts.read", lambda root: facts)
    monkeypatch.setattr("targets.detection.jetson", lambda root: Jetson("Jetson Orin NX", None))

    lines = said("targets", "detect").splitlines()

    assert "threads a core    unknown" in lines
    assert "quota             1.5 processors" in lines
    assert "int8 instructions unknown" in lines
    assert "board             Jetson Orin NX, no release" in lines
    assert 'name = "jetson-orin-nx"' in lines


def test_doctor_examines_a_target(folder: Path) -> None:
    write(folder / "box.toml")

    text = said("doctor", "--target", "box")
    data = json.loads(said("doctor", "--target", "box", "--json"))

    assert text.startswith("target            box\nbackend           reference\n")
    assert text.endswith("The target 'box' can be used here.\n")
    assert (data["target"], data["usable"], data["problems"]) == ("box", True, [])


def test_doctor_says_that_a_target_cannot_be_used(folder: Path) -> None:
    absent = max(os.sched_getaffinity(0)) + 1

    text = said("doctor", "--target", f"cpu:threads=1,affinity={absent}", code=6)

    assert f"problem: The target pins threads to the processors [{absent}]; this process" in text
    assert text.endswith(" cannot be used here.\n")
    assert "Unknown target 'nobody'" in refusal("doctor", "--target", "nobody")


def scale() -> ExportedModel:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(np.ones(1, np.float32), "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ExportedModel.from_bytes(proto.SerializeToString())


def test_a_target_of_a_file_is_measured_in_a_child_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "elsewhere.toml")
    write(folder / "box.toml")
    monkeypatch.chdir(tmp_path)
    protocol = Protocol(rounds=1, min_units=3, unit_seconds=0.001, warmup_seconds=0.001)

    with CostStore(tmp_path / "costs.sqlite") as store:
        table = profile(
            [scale()], get_target("./elsewhere.toml:threads=1"), store=store, protocol=protocol
        )
        named = profile([scale()], get_target("box:threads=1"), store=store, protocol=protocol)

    (cost,) = table.costs.values()
    assert cost.median_us > 0
    assert table.environment.target == f"{tmp_path / 'elsewhere.toml'}:threads=1"
    assert table.environment.fingerprint == named.environment.fingerprint


@pytest.mark.parametrize("command", [("profile",), ("build", "--latency", "1ms"), ("sweep",)])
def test_a_target_that_cannot_be_used_is_refused_before_any_work(
    command: tuple[str, ...], workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON, "/nowhere/python")

    result = workshop.run(*command, "--target", "cuda", home=tmp_path / "home")

    said = workshop.refusal(result, 6)
    assert "TensorRT cannot be used by /nowhere/python: " in said
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "home" / "zoo").exists()
