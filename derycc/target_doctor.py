"""`TargetDiagnosis`: whether a target can be used on this machine, and what makes it noisy."""

from dataclasses import asdict, dataclass
from typing import Any

from backends.backend import Step
from backends.registry import get_backend
from targets.errors import DeryccError, TargetUnavailableError
from targets.facts import Facts
from targets.power import mode_problem
from targets.settings import write_option
from targets.target import Target

BUSY_LOAD = 0.5
"""Processes running beside derycc, on average, from which timings are disturbed."""

_STAND_IN = "reference"
"""The backend whose clock is computed: cores, clocks and load do not matter to it."""


@dataclass(frozen=True, slots=True)
class TargetDiagnosis:
    """What `derycc doctor --target` says.

    Attributes:
        target: The target, with its settings on this machine.
        problems: What keeps it from being used here and what to do, one paragraph each.
        remarks: What makes it slow or its timings noisy; it can be used all the same.
        steps: What its runtime stands on, from below, to the first step that fails.
    """

    target: Target
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    steps: tuple[Step, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether networks can be measured and built for it here."""
        return not self.problems

    @property
    def exit_code(self) -> int:
        """0 where the target can be used here, else that of a target that is unavailable."""
        return 0 if self.usable else TargetUnavailableError.exit_code

    def lines(self) -> tuple[str, ...]:
        """The diagnosis as text for a reader."""
        verdict = "can be used here" if self.usable else "cannot be used here"
        return (
            f"{'target':<18}{self.target}",
            *setting_lines(self.target),
            "",
            *map(_step_line, self.steps),
            *(f"problem: {text}" for text in self.problems),
            *(f"remark: {text}" for text in self.remarks),
            f"The target {str(self.target)!r} {verdict}.",
        )

    def data(self) -> dict[str, Any]:
        """The diagnosis as plain data."""
        return {
            "target": str(self.target),
            "settings": self.target.settings,
            "usable": self.usable,
            "problems": self.problems,
            "remarks": self.remarks,
            "steps": [{**asdict(step), "passed": step.passed} for step in self.steps],
        }


def setting_lines(target: Target) -> tuple[str, ...]:
    """A line for every setting, as its option would be written."""
    return tuple(
        f"{name.replace('_', ' '):<18}{write_option(name, value)}"
        for name, value in target.settings.items()
    )


def examine(target: Target, facts: Facts, steps: bool = False) -> TargetDiagnosis:
    """Compares a target with the machine that this process runs on; measures nothing.

    Args:
        target: The target that is asked about.
        facts: Of this machine.
        steps: Whether each step that the runtime stands on is tried, which may take a while; else
            it is asked whether it can be used.
    """
    climbed, problems = _runtime(target.backend, steps)
    failed = [step for step in climbed if not step.passed]
    problems += [_said(step) for step in failed if step.needed]
    problems += _mode_problems(target, facts)
    remarks = [_said(step) for step in failed if not step.needed]
    if target.backend != _STAND_IN:
        problems += [*_thread_problems(target, facts), *_affinity_problems(target, facts)]
        remarks += [*_precision_remarks(target, facts), *_core_remarks(target, facts)]
        remarks += _clock_remarks(facts)
    return TargetDiagnosis(target, tuple(problems), tuple(remarks), climbed)


def _said(step: Step) -> str:
    return f"{step.name}: {step.problem}. {step.fix}"


def _step_line(step: Step) -> str:
    return f"{step.name:<18}{step.found or 'FAILED'}"


def _runtime(name: str, steps: bool) -> tuple[tuple[Step, ...], list[str]]:
    """The steps that a runtime stands on; where none are tried, why it cannot be used."""
    climbed: tuple[Step, ...] = ()
    try:
        backend = get_backend(name)
        climbed = backend.ladder() if steps else ()
        problem = None if climbed else backend.unavailable()
    except DeryccError as error:
        problem = str(error)
    return climbed, [problem] if problem else []


def _mode_problems(target: Target, facts: Facts) -> list[str]:
    problem = mode_problem(target.power_mode, facts.power_mode)
    return [problem] if problem else []


def _thread_problems(target: Target, facts: Facts) -> list[str]:
    there = len(facts.processors)
    if target.threads > there:
        return [
            f"The target asks for {target.threads} threads; this process may use {there} "
            f"processors. Use threads={facts.cores}, as many as there are physical cores."
        ]
    if facts.quota is not None and target.threads > max(1, facts.quota):
        return [
            f"The target asks for {target.threads} threads; the container allows "
            f"{facts.quota:g} processors' worth of time. Use threads={facts.cores}, or raise the "
            f"container's quota."
        ]
    return []


def _affinity_problems(target: Target, facts: Facts) -> list[str]:
    absent = sorted(set(target.affinity) - set(facts.processors))
    if target.affinity and not facts.pinnable:
        return ["The target pins its threads, which this system does not offer. Use affinity=any."]
    if absent:
        return [
            f"The target pins threads to the processors {absent}; this process may use "
            f"{list(facts.processors)}. Choose among these, or use affinity=any."
        ]
    return []


def _precision_remarks(target: Target, facts: Facts) -> list[str]:
    remarks = []
    if "int8" in target.precisions and not facts.int8_flags:
        why = (
            "this processor has no VNNI or dot product instructions"
            if facts.flags
            else "this system does not tell whether the processor has instructions for it"
        )
        remarks.append(f"int8 works, but may be slower than fp32: {why}.")
    half = [name for name in target.precisions if name in ("bf16", "fp16")]
    if half:
        remarks.append(
            f"{' and '.join(half)} on a processor: ONNX Runtime converts most of it to fp32 and "
            f"back, which works, but is rarely faster than fp32."
        )
    return remarks


def _core_remarks(target: Target, facts: Facts) -> list[str]:
    remarks = []
    if facts.cores < target.threads <= len(facts.processors):
        remarks.append(
            f"{target.threads} threads share {facts.cores} physical cores, which is usually slower "
            f"and always noisier than one thread a core."
        )
    if facts.quota is not None:
        remarks.append(
            f"This container is stopped when it has used {facts.quota:g} processors' worth of "
            f"time, which shows as rare, very slow runs."
        )
    if facts.load is not None and facts.load >= BUSY_LOAD:
        remarks.append(
            f"The load average is {facts.load:g} on {facts.cores} cores: other programs are "
            f"running. Close them before measuring, or expect noisy measurements."
        )
    return remarks


def _clock_remarks(facts: Facts) -> list[str]:
    remarks = []
    if facts.governor not in (None, "performance"):
        remarks.append(
            f"The frequency governor is {facts.governor}: clocks rise and fall with the load. For "
            f"steady timings set it to performance (cpupower frequency-set -g performance)."
        )
    if facts.turbo == "on":
        remarks.append(
            "Boost clocks are on: the first seconds run faster than the rest. They are part of "
            "what a user sees; switch them off only to compare measurements."
        )
    return remarks
