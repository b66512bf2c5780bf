"""Printing of targets: the list, one target, and what was detected."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from derycc.console import table
from derycc.target_doctor import examine, setting_lines
from targets.detection import Detection, Proposal
from targets.facts import Facts
from targets.registry import Entry, Found
from targets.settings import write_option
from targets.target import Target


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A target in the list: its name, file, settings here, and why it cannot be used here."""

    name: str
    path: str
    source: str
    target: Target | None
    description: str
    problems: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """The row as plain data."""
        settings = {} if self.target is None else self.target.settings
        return {
            "name": self.name,
            "source": self.source,
            "path": self.path,
            "description": self.description,
            **settings,
            "ready": not self.problems,
            "problems": self.problems,
        }


def target_row(entry: Entry, facts: Facts) -> TargetRow:
    """What there is to say of an entry on this machine."""
    found = entry.found
    if found is None:
        return TargetRow(entry.name, str(entry.path), "user", None, "", (entry.problem or "",))
    target = Target.from_found(found)
    problems = examine(target, facts).problems
    description = found.file.description
    return TargetRow(entry.name, str(entry.path), found.source, target, description, problems)


def targets_table(rows: Sequence[TargetRow]) -> Table:
    """One line a target; what is missing is said in lines of their own."""
    columns = ("target", "backend", ">threads", "precisions", "from", "description", "here")
    return table("Targets", columns, [_row(row) for row in rows])


def problem_lines(rows: Sequence[TargetRow]) -> list[str]:
    """What is missing, a line each."""
    return [f"{row.name}: {problem}" for row in rows for problem in row.problems]


def target_lines(found: Found, target: Target) -> list[str]:
    """One target: its file, and every setting on this machine."""
    return [
        f"# {found.path}" if found.source != "shipped" else "# shipped with derycc",
        found.file.to_toml(),
        f"On this machine, as {str(target)!r}:",
        *(f"  {line}" for line in setting_lines(target)),
    ]


def target_data(found: Found, target: Target) -> dict[str, Any]:
    """One target as plain data."""
    return {
        "target": str(target),
        "source": found.source,
        "path": str(found.path),
        "toml": found.file.to_toml(),
        "file": asdict(found.file),
        "settings": target.settings,
    }


def machine_lines(found: Detection) -> list[str]:
    """What was found on this machine."""
    facts = found.facts
    quota = "none" if facts.quota is None else f"{facts.quota:g} processors"
    int8 = ", ".join(facts.int8_flags) or ("none" if facts.flags else "unknown")
    lines = [
        f"{'cores':<18}{facts.cores} physical, {len(facts.processors)} logical processors",
        f"{'threads a core':<18}{_shared(facts.smt)}",
        f"{'quota':<18}{quota}",
        f"{'int8 instructions':<18}{int8}",
        f"{'power mode':<18}{facts.power_mode or 'unknown'}",
        *(f"{'GPU':<18}{gpu.name}" for gpu in found.gpus),
    ]
    if found.jetson is not None:
        lines.append(f"{'board':<18}{found.jetson.model}, {found.jetson.release or 'no release'}")
    tensorrt = "installed" if found.tensorrt else "not installed"
    return [*lines, f"{'TensorRT':<18}{tensorrt}", *(f"note: {note}" for note in found.notes)]


def proposal_lines(proposal: Proposal) -> list[str]:
    """A proposed target: its file, a reason a setting, and what is missing."""
    return [
        "",
        proposal.file.to_toml(),
        *(f"# {name}: {reason}" for name, reason in proposal.reasons),
        *(f"# missing: {line}" for line in proposal.missing),
    ]


def proposal_data(proposal: Proposal) -> dict[str, Any]:
    """A proposed target as plain data."""
    return {
        "name": proposal.file.name,
        "toml": proposal.file.to_toml(),
        "file": asdict(proposal.file),
        "reasons": dict(proposal.reasons),
        "missing": proposal.missing,
    }


def detection_data(found: Detection) -> dict[str, Any]:
    """What was found on this machine as plain data."""
    return {
        "facts": {**asdict(found.facts), "int8_flags": found.facts.int8_flags},
        "gpus": [asdict(gpu) for gpu in found.gpus],
        "jetson": None if found.jetson is None else asdict(found.jetson),
        "tensorrt": found.tensorrt,
        "notes": found.notes,
        "proposals": [proposal_data(proposal) for proposal in found.proposals],
    }


def _row(row: TargetRow) -> tuple[str, ...]:
    here = "missing: see below" if row.problems else "ready"
    if row.target is None:
        return (row.name, "-", "-", "-", row.path, "", "broken: see below")
    settings = {name: write_option(name, value) for name, value in row.target.settings.items()}
    where = "shipped" if row.source == "shipped" else row.path
    return (
        row.name,
        settings["backend"],
        settings["threads"],
        settings["precisions"],
        where,
        row.description,
        here,
    )


def _shared(smt: str | None) -> str:
    return {"on": "2 or more", "off": "1"}.get(smt or "", "unknown")
