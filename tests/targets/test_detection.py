import os
import sys
from pathlib import Path

import pytest

from targets.accelerators import Gpu, gpus, has_tensorrt, jetson
from targets.detection import Detection, Proposal, detect
from targets.facts import Facts
from targets.target_file import TargetFile
from tests.targets.trees import write

FLAGS = "proc/cpuinfo"


def tool(folder: Path, script: str) -> None:
    """An `nvidia-smi` that runs a script."""
    folder.mkdir(exist_ok=True)
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, for an `nvidia-smi` of the test."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


@pytest.fixture(autouse=True)
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 0, 1, 2}, raising=False)


def named(found: Detection) -> dict[str, Proposal]:
    return {proposal.file.name: proposal for proposal in found.proposals}


def test_the_facts_of_a_machine_are_read(tmp_path: Path) -> None:
    write(tmp_path, {FLAGS: "flags : sse avx512_vnni amx_int8\n", "proc/loadavg": "1.50 1 1 2/3 4"})

    facts = Facts.read(tmp_path)

    assert facts == Facts(
        cores=4,
        processors=(0, 1, 2, 3),
        flags=("amx_int8", "avx512_vnni", "sse"),
        load=1.5,
    )
    assert facts.int8_flags == ("amx_int8", "avx512_vnni")


@pytest.mark.parametrize("text", ["", "busy"])
def test_a_load_that_cannot_be_read_is_unknown(tmp_path: Path, text: str) -> None:
    assert Facts.read(write(tmp_path, {"proc/loadavg": text})).load is None


def test_where_threads_cannot_be_pinned_every_processor_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    facts = Facts.read(tmp_path)

    assert (facts.processors, facts.pinnable) == ((0, 1), False)


def test_one_core_and_all_cores_are_proposed_with_reasons(tmp_path: Path) -> None:
    write(tmp_path, {FLAGS: "flags : avx_vnni\n", "sys/devices/system/cpu/smt/active": "1"})

    found = named(detect(["ort"], tmp_path))

    assert list(found) == ["one-core", "all-cores"]
    assert found["one-core"].file == TargetFile(
        "one-core",
        "ort",
        threads=1,
        precisions=("fp32", "int8"),
        description="One core, for one request at a time",
    )
    assert found["all-cores"].file.threads == 4
    reasons = dict(found["all-cores"].reasons)
    assert reasons["threads"].startswith("the 4 physical cores that this process may use, of 4 ")
    assert "(two threads share a core here)" in reasons["threads"]
    assert reasons["precisions"] == "int8 too: the processor has avx_vnni, so that it pays."
    assert reasons["spinning"] == "on: a thread that spins starts sooner than one that sleeps."
    assert all(proposal.missing == () for proposal in found.values())


@pytest.mark.parametrize(
    ("flags", "precisions", "reason"),
    [
        ("asimd asimddp", ("fp32", "int8"), "int8 too: the processor has asimddp"),
        ("sse avx2", ("fp32",), "fp32 alone: without VNNI or dot product instructions int8 is"),
        ("", ("fp32",), "fp32 alone: the system does not tell whether"),
    ],
)
def test_int8_is_proposed_where_the_processor_is_made_for_it(
    tmp_path: Path, flags: str, precisions: tuple[str, ...], reason: str
) -> None:
    proposal = detect(["ort"], write(tmp_path, {FLAGS: f"Features : {flags}\n"})).proposals[0]

    assert proposal.file.precisions == precisions
    assert dict(proposal.reasons)["precisions"].startswith(reason)


def test_in_a_container_with_a_quota_threads_do_not_spin(tmp_path: Path) -> None:
    write(tmp_path, {"sys/fs/cgroup/cpu.max": "250000 100000"})

    found = named(detect(["ort"], tmp_path))["all-cores"]

    assert (found.file.threads, found.file.spinning) == (2, False)
    assert dict(found.reasons)["spinning"].startswith("off: the container allows 2.5 processors'")


def test_a_single_core_is_one_target_in_the_power_mode_of_now(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu.max": "100000 100000",
        "sys/firmware/acpi/platform_profile": "balanced",
    }

    (proposal,) = detect(["ort"], write(tmp_path, files)).proposals

    assert proposal.file.power_mode == "balanced"
    assert dict(proposal.reasons)["power_mode"].startswith("what the machine is in now")


def test_a_power_mode_that_no_target_can_ask_for_is_left_out_with_a_note(tmp_path: Path) -> None:
    found = detect(["ort"], write(tmp_path, {"sys/firmware/acpi/platform_profile": "low;power\n"}))

    assert {proposal.file.power_mode for proposal in found.proposals} == {None}
    assert found.facts.power_mode == "low;power"
    assert any("power mode 'low;power' is left out" in note for note in found.notes)


def test_gpus_are_proposed_with_what_is_missing(tmp_path: Path, path: Path) -> None:
    tool(path, 'echo "NVIDIA H100 80GB HBM3, 81559, 9.0"\necho "NVIDIA H100 80GB HBM3, 81559, 9.0"')

    found = detect(["ort"], tmp_path)

    gpu = Gpu("NVIDIA H100 80GB HBM3", 81559, 9.0)
    assert found.gpus == (gpu, gpu)
    proposal = found.proposals[-1]
    assert proposal.file == TargetFile(
        "h100-80gb-hbm3",
        "trt",
        threads=1,
        precisions=("fp32", "fp16", "int8", "bf16"),
        description="NVIDIA H100 80GB HBM3",
    )
    assert len(found.proposals) == 3
    assert proposal.missing == (
        "This version of derycc has no backend 'trt' (TensorRT).",
        "TensorRT is not installed. Install it: pip install derycc[tensorrt]",
    )


@pytest.mark.parametrize(
    ("compute", "precisions"),
    [
        ("6.0", ("fp32",)),
        ("6.1", ("fp32", "int8")),
        ("7.5", ("fp32", "fp16", "int8")),
        ("[N/A]", ("fp32", "fp16")),
    ],
)
def test_a_gpus_precisions_follow_from_its_compute_capability(
    tmp_path: Path, path: Path, compute: str, precisions: tuple[str, ...]
) -> None:
    tool(path, f'echo "Tesla X, [N/A], {compute}"\necho "no row"')

    found = detect([], tmp_path)

    assert found.gpus[0].memory_mib is None
    assert found.proposals[-1].file.precisions == precisions


@pytest.mark.parametrize(
    ("script", "note"),
    [
        ("echo No devices were found.; exit 6", "nvidia-smi lists no GPU: No devices were found."),
        ("echo driver >&2; exit 9", "nvidia-smi lists no GPU: driver. Check the NVIDIA driver."),
    ],
)
def test_a_driver_that_does_not_answer_is_noted(
    tmp_path: Path, path: Path, script: str, note: str
) -> None:
    tool(path, script)

    found = detect(["ort"], tmp_path)

    assert [text.startswith(note) for text in found.notes] == [True]
    assert [proposal.file.backend for proposal in found.proposals] == ["ort", "ort"]


def test_a_tool_that_cannot_be_started_is_noted(path: Path) -> None:
    tool(path, "")
    (path / "nvidia-smi").write_bytes(b"\x7fELF no program")

    found, note = gpus()

    assert found == ()
    assert str(note).startswith("nvidia-smi cannot be asked for GPUs: ")


def test_a_jetson_is_proposed_in_its_power_mode_and_not_as_a_gpu(
    tmp_path: Path, path: Path
) -> None:
    tool(path, 'echo "Orin (nvgpu), [N/A], 8.7"')
    files = {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 1, BOARD: generic\n",
        "var/lib/nvpmodel/status": "pmode:0000\n",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n",
    }

    found = named(detect(["ort", "trt"], write(tmp_path, files)))

    assert found["jetson-orin-nano"].file == TargetFile(
        "jetson-orin-nano",
        "trt",
        threads=1,
        precisions=("fp32", "fp16", "int8"),
        power_mode="15W",
        description="NVIDIA Jetson Orin Nano Developer Kit, Jetson Linux R36.4.0",
    )
    assert list(found) == ["one-core", "all-cores", "jetson-orin-nano"]
    assert found["jetson-orin-nano"].missing == (
        "TensorRT is not installed. Install it: pip install derycc[tensorrt]",
    )


def test_the_first_jetsons_have_no_int8(tmp_path: Path) -> None:
    model = "NVIDIA Jetson Nano Developer Kit\0"

    proposal = detect([], write(tmp_path, {"proc/device-tree/model": model})).proposals[-1]

    assert proposal.file.name == "jetson-nano"
    assert proposal.file.precisions == ("fp32", "fp16")
    assert proposal.file.power_mode is None


def test_a_board_is_known_by_its_system_alone(tmp_path: Path) -> None:
    board = jetson(write(tmp_path, {"etc/nv_tegra_release": "strange\n"}))

    assert board is not None
    assert (board.model, board.release) == ("Jetson", None)
    assert detect([], tmp_path).proposals[-1].file.name == "jetson"


def test_tensorrt_is_found_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"tensorrt/__init__.py": "raise SystemExit('imported')\n"})
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    write(tmp_path, {"proc/device-tree/model": "NVIDIA Jetson AGX Orin"})

    assert has_tensorrt()
    assert "tensorrt" not in sys.modules
    assert detect(["ort", "trt"], tmp_path).proposals[-1].missing == ()
