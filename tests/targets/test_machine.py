import os
import platform
from pathlib import Path

import pytest

from targets.machine import (
    container_quota,
    cpu_flags,
    cpu_model,
    governor,
    memory_bytes,
    power_mode,
    smt,
    temperature_c,
    turbo,
    usable_cores,
)
from tests.targets.trees import write

CPU = "sys/devices/system/cpu"


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> None:
    def four(process: int) -> set[int]:
        return {0, 1, 2, 3}

    monkeypatch.setattr(os, "sched_getaffinity", four, raising=False)


def test_this_machine_has_a_core_and_memory() -> None:
    assert usable_cores() >= 1
    assert memory_bytes() > 0
    assert cpu_model() != ""


def test_facts_that_the_system_does_not_tell_are_unknown(tmp_path: Path) -> None:
    assert cpu_model(tmp_path) == "unknown"
    assert cpu_flags(tmp_path) == ()
    assert memory_bytes(tmp_path) == 0
    assert container_quota(tmp_path) is None
    assert governor(tmp_path) is None
    assert turbo(tmp_path) is None
    assert smt(tmp_path) is None
    assert power_mode(tmp_path) is None
    assert temperature_c(tmp_path) is None


@pytest.mark.usefixtures("allow")
def test_siblings_of_one_core_count_once(tmp_path: Path) -> None:
    topology = {
        f"{CPU}/cpu{cpu}/topology/{name}": text
        for cpu in range(4)
        for name, text in (("physical_package_id", "0\n"), ("core_id", f"{cpu % 2}\n"))
    }

    assert usable_cores(write(tmp_path, topology)) == 2


@pytest.mark.usefixtures("allow")
@pytest.mark.parametrize(("quota", "cores"), [("250000", 2), ("50000", 1), ("max", 4)])
def test_cores_are_limited_by_the_containers_quota(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path, {"sys/fs/cgroup/cpu.max": f"{quota} 100000\n"})

    assert usable_cores(tmp_path) == cores


def test_without_an_affinity_every_processor_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)

    assert usable_cores(tmp_path) == 3


def test_the_tightest_quota_of_all_groups_around_the_process_holds(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/pod/box\n",
        "sys/fs/cgroup/pod/box/cpu.max": "max 100000\n",
        "sys/fs/cgroup/pod/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/cpu.max": "400000 100000\n",
    }

    assert container_quota(write(tmp_path, files)) == 1.5


@pytest.mark.parametrize(("quota", "expected"), [("200000", 2.0), ("-1", None)])
def test_a_quota_of_control_groups_version_1_is_read(
    tmp_path: Path, quota: str, expected: float | None
) -> None:
    folder = "sys/fs/cgroup/cpu"
    files = {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000"}

    assert container_quota(write(tmp_path, files)) == expected


@pytest.mark.parametrize("text", ["", "garbage", "x y"])
def test_a_quota_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    assert container_quota(write(tmp_path, {"sys/fs/cgroup/cpu.max": text})) is None


def test_memory_is_limited_by_the_container(tmp_path: Path) -> None:
    files = {"proc/meminfo": "MemTotal:       2048 kB\nMemFree: 5 kB\n"}
    write(tmp_path, files)

    assert memory_bytes(tmp_path) == 2048 * 1024
    assert memory_bytes(write(tmp_path, {"sys/fs/cgroup/memory.max": "max"})) == 2048 * 1024
    assert memory_bytes(write(tmp_path, {"sys/fs/cgroup/memory.max": "1000000"})) == 1_000_000
    assert (
        memory_bytes(write(tmp_path, {"sys/fs/cgroup/memory/memory.limit_in_bytes": "900000"}))
        == 900_000
    )


def test_the_processor_is_named_by_the_first_of_several(tmp_path: Path) -> None:
    text = "processor : 0\nmodel name : Fast CPU\nflags : sse avx\n\nmodel name : Slow CPU\n"
    write(tmp_path, {"proc/cpuinfo": text})

    assert cpu_model(tmp_path) == "Fast CPU"
    assert cpu_flags(tmp_path) == ("avx", "sse")


def test_an_arm_processor_is_named_by_its_part(tmp_path: Path) -> None:
    text = "processor : 0\nFeatures : fp asimd\nCPU implementer : 0x41\nCPU part : 0xd40\n"
    write(tmp_path, {"proc/cpuinfo": text})

    assert cpu_model(tmp_path) == "CPU implementer 0x41 CPU part 0xd40"
    assert cpu_flags(tmp_path) == ("asimd", "fp")


def test_where_there_is_no_proc_the_platform_names_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    monkeypatch.setattr("targets.machine.read_text", lambda file: "")

    assert cpu_model() == "arm"


def test_governors_of_all_processors_are_told(tmp_path: Path) -> None:
    files = {
        f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
        f"{CPU}/cpu1/cpufreq/scaling_governor": "performance\n",
        f"{CPU}/cpu10/cpufreq/scaling_governor": "performance\n",
    }

    assert governor(write(tmp_path, files)) == "performance+powersave"


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("intel_pstate/no_turbo", "0", "on"),
        ("intel_pstate/no_turbo", "1", "off"),
        ("cpufreq/boost", "1", "on"),
        ("cpufreq/boost", "0", "off"),
        ("cpufreq/boost", "?", None),
    ],
)
def test_boost_clocks_are_on_or_off(
    tmp_path: Path, file: str, text: str, expected: str | None
) -> None:
    assert turbo(write(tmp_path, {f"{CPU}/{file}": f"{text}\n"})) == expected


@pytest.mark.parametrize(("text", "expected"), [("1\n", "on"), ("0\n", "off"), ("?", None)])
def test_two_threads_a_core_are_on_or_off(tmp_path: Path, text: str, expected: str | None) -> None:
    assert smt(write(tmp_path, {f"{CPU}/smt/active": text})) == expected


def test_the_power_profile_of_the_firmware_is_the_power_mode(tmp_path: Path) -> None:
    files = {"sys/firmware/acpi/platform_profile": "balanced\n"}

    assert power_mode(write(tmp_path, files)) == "balanced"


def test_a_jetsons_power_mode_is_named_by_its_own_list(tmp_path: Path) -> None:
    modes = "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE\n< POWER_MODEL ID=2 NAME=15W >\n"
    write(tmp_path, {"var/lib/nvpmodel/status": "pmode:0002\n", "etc/nvpmodel.conf": modes})

    assert power_mode(tmp_path) == "15W"


def test_a_jetsons_power_mode_that_is_not_listed_is_a_number(tmp_path: Path) -> None:
    assert power_mode(write(tmp_path, {"var/lib/nvpmodel/status": "pmode:0000"})) == "mode 0"


def test_the_hottest_zone_is_told_and_what_is_no_temperature_is_not(tmp_path: Path) -> None:
    zones = "sys/class/thermal/thermal_zone"
    files = {
        f"{zones}0/temp": "41500\n",
        f"{zones}1/temp": "-256000\n",
        f"{zones}2/temp": "broken\n",
        f"{zones}3/temp": "100000\n",
        f"{zones}3/type": "PMIC-Die\n",
    }

    assert temperature_c(write(tmp_path, files)) == 41.5
