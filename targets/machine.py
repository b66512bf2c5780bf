"""Facts about the machine that runs this process, read from /proc and /sys.

Every fact degrades to `None` or "unknown" where the system does not tell. `root` stands for the
file system's root, so that a test can show another machine.
"""

import os
import platform
import re
from pathlib import Path

_ROOT = Path("/")
_CPUS = "sys/devices/system/cpu"


def usable_cores(root: Path = _ROOT) -> int:
    """Physical cores that this process may use by its affinity and its container's quota."""
    cores = {_core(cpu, root) for cpu in _allowed_cpus()}
    quota = container_quota(root)
    limit = len(cores) if quota is None else min(len(cores), int(quota))
    return max(1, limit)


def cpu_model(root: Path = _ROOT) -> str:
    """The processor's name, or "unknown"."""
    facts = _cpuinfo(root)
    for field in ("model name", "Hardware", "Model", "cpu model"):
        if facts.get(field):
            return facts[field]
    part = " ".join(
        f"{field} {facts[field]}" for field in ("CPU implementer", "CPU part") if field in facts
    )
    return part or "unknown"


def cpu_flags(root: Path = _ROOT) -> tuple[str, ...]:
    """The processor's instruction set flags, sorted; empty where unknown."""
    facts = _cpuinfo(root)
    return tuple(sorted((facts.get("flags") or facts.get("Features") or "").split()))


def memory_bytes(root: Path = _ROOT) -> int:
    """Bytes of memory of the machine, or its container's limit; 0 where unknown."""
    total = 0
    for line in read_text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
    limits = [_whole(text) for text in _cgroup_values("memory.max", root)]
    limits += [_whole(text) for text in _cgroup_v1("memory", "memory.limit_in_bytes", root)]
    return min([total, *(limit for limit in limits if 0 < limit < total)])


def container_quota(root: Path = _ROOT) -> float | None:
    """Processors' worth of time that the container allows (tightest group); None: unlimited."""
    quotas = []
    for text in _cgroup_values("cpu.max", root):
        quotas.append(_ratio(*text.split()[:2]) if len(text.split()) > 1 else None)
    periods = _cgroup_v1("cpu", "cpu.cfs_period_us", root)
    for text, period in zip(_cgroup_v1("cpu", "cpu.cfs_quota_us", root), periods, strict=False):
        quotas.append(_ratio(text, period))
    known = [quota for quota in quotas if quota is not None]
    return min(known) if known else None


def governor(root: Path = _ROOT) -> str | None:
    """The frequency governor, several joined by "+"; None where there is none."""
    files = (root / _CPUS).glob("cpu[0-9]*/cpufreq/scaling_governor")
    names = {read_text(file).strip() for file in files} - {""}
    return "+".join(sorted(names)) or None


def turbo(root: Path = _ROOT) -> str | None:
    """The processor's boost clocks, "on" or "off"; None where the system does not tell."""
    no_turbo = read_text(root / _CPUS / "intel_pstate/no_turbo").strip()
    if no_turbo in ("0", "1"):
        return "off" if no_turbo == "1" else "on"
    boost = read_text(root / _CPUS / "cpufreq/boost").strip()
    return {"1": "on", "0": "off"}.get(boost)


def smt(root: Path = _ROOT) -> str | None:
    """Whether two threads share a core, "on" or "off"; None where the system does not tell."""
    return {"1": "on", "0": "off"}.get(read_text(root / _CPUS / "smt/active").strip())


def power_mode(root: Path = _ROOT) -> str | None:
    """The machine's power profile or a Jetson's mode, e.g. "balanced" or "MAXN"; None: no such."""
    profile = read_text(root / "sys/firmware/acpi/platform_profile").strip()
    return profile or _jetson_mode(root)


def temperature_c(root: Path = _ROOT) -> float | None:
    """The hottest thermal zone in degrees Celsius; None where none can be read."""
    degrees = [
        int(text) / 1000
        for zone in (root / "sys/class/thermal").glob("thermal_zone*")
        if re.fullmatch(r"-?[0-9]+", text := read_text(zone / "temp").strip())
        # A Jetson's power chip always says 100 degrees.
        and not read_text(zone / "type").startswith("PMIC")
    ]
    return max(degrees, default=None)


def _jetson_mode(root: Path) -> str | None:
    """The mode's name, by the number that the nvpmodel service keeps and its own list of modes."""
    number = re.search(r"pmode:0*([0-9]+)", read_text(root / "var/lib/nvpmodel/status"))
    if number is None:
        return None
    listed = rf"POWER_MODEL\s+ID={number[1]}\s+NAME=(\S+)"
    name = re.search(listed, read_text(root / "etc/nvpmodel.conf"))
    return name[1] if name else f"mode {number[1]}"


def _allowed_cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _core(cpu: int, root: Path) -> tuple[str, str]:
    topology = root / _CPUS / f"cpu{cpu}/topology"
    package = read_text(topology / "physical_package_id").strip()
    core = read_text(topology / "core_id").strip()
    return (package, core) if core else ("", f"cpu{cpu}")


def _cpuinfo(root: Path) -> dict[str, str]:
    facts: dict[str, str] = {}
    for line in read_text(root / "proc/cpuinfo").splitlines():
        field, colon, value = line.partition(":")
        if colon:
            facts.setdefault(field.strip(), value.strip())
    if not facts and root == _ROOT and platform.processor():
        facts["model name"] = platform.processor()
    return facts


def _cgroup_values(file: str, root: Path) -> list[str]:
    """The file's content in this process's version 2 control group and in every group around it."""
    base = root / "sys/fs/cgroup"
    path = next(
        (
            line[len("0::") :].strip("/")
            for line in read_text(root / "proc/self/cgroup").splitlines()
            if line.startswith("0::")
        ),
        "",
    )
    group = base / path
    groups = [folder for folder in (group, *group.parents) if folder.is_relative_to(base)]
    return [text for folder in groups if (text := read_text(folder / file).strip())]


def _cgroup_v1(controller: str, file: str, root: Path) -> list[str]:
    folders = (root / "sys/fs/cgroup" / controller, root / "sys/fs/cgroup/cpu,cpuacct")
    texts = [read_text(folder / file).strip() for folder in folders]
    return [text for text in texts if text][:1]


def _ratio(quota: str, period: str) -> float | None:
    share = _whole(quota)
    whole = _whole(period)
    return share / whole if share > 0 and whole > 0 else None


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def read_text(file: Path) -> str:
    """What a file says; nothing where it is not there or may not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
