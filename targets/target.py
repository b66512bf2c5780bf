"""`Target`: which device runs the network, and how; one short string describes it."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from targets.errors import UsageError
from targets.machine import usable_cores
from targets.registry import Found, entries, find, split_reference
from targets.settings import (
    OPTIONS,
    PHYSICAL,
    check_affinity,
    check_backend,
    check_name,
    check_power_mode,
    check_precisions,
    check_threads,
    check_transport,
    read_options,
    write_options,
)


@dataclass(frozen=True, slots=True)
class Target:
    """A device, its runtime, and the settings that a latency depends on.

    A target is what a TOML file says, on this machine: `threads` is a number here.

    Attributes:
        name: The name in its file, such as `cpu`.
        backend: The runtime's name in `backends.registry`.
        threads: Threads of one inference, the calling thread included.
        precisions: Precisions that may be used.
        spinning: Whether idle threads spin instead of sleeping.
        affinity: Logical processors, one a thread, the calling thread's first; empty: unpinned.
        transport: How the device is reached.
        power_mode: The power mode that the machine must be in; None: any.
        path: Absolute path of its file where the target was asked for by path; else empty.
    """

    name: str
    backend: str
    threads: int
    precisions: tuple[str, ...] = ("fp32",)
    spinning: bool = True
    affinity: tuple[int, ...] = ()
    transport: Literal["local"] = "local"
    power_mode: str | None = None
    path: str = ""

    def __post_init__(self) -> None:
        """Checks every field; see the class for what each means."""
        check_name(self.name)
        check_backend(self.backend)
        check_threads(self.threads)
        check_transport(self.transport)
        check_precisions(self.precisions)
        check_affinity(self.affinity, self.threads)
        check_power_mode(self.power_mode)

    def __str__(self) -> str:
        """Its name or path and what differs from its file; parses to an equal target."""
        options = self.settings
        base = self._base()
        if base is not None:
            same = base.settings
            options = {name: value for name, value in options.items() if value != same[name]}
        reference = self.path or self.name
        return f"{reference}:{write_options(options)}" if options else reference

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by its option's name, in the order in which options are written."""
        return {option: getattr(self, option) for option in OPTIONS}

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Reads `NAME`, `FILE.toml`, or one of these with `:OPTION=VALUE,...` behind it.

        `cpu:threads=2,spinning=off` changes two settings. Several precisions or processors are
        joined by `+`: `cpu:threads=2,affinity=0+1`.

        Raises:
            UnknownNameError: No such target or option.
            UsageError: A file that cannot be used, or a value that its option cannot have.
        """
        reference, options = split_reference(text)
        target = cls.from_found(find(reference))
        if options is None:
            return target
        values = read_options(text, options)
        if "threads" in values:
            values["threads"] = _count(values["threads"])
        return replace(target, **values)

    @classmethod
    def from_found(cls, found: Found) -> "Target":
        """What a target's file means on this machine."""
        file = found.file
        return cls(
            name=file.name,
            backend=file.backend,
            threads=_count(file.threads),
            precisions=file.precisions,
            spinning=file.spinning,
            affinity=file.affinity,
            transport=file.transport.kind,
            power_mode=file.power_mode,
            path=str(found.path) if found.source == "path" else "",
        )

    def _base(self) -> "Target | None":
        """The target as its file has it; None where there is no such file any more."""
        try:
            return Target.from_found(find(self.path or self.name))
        except UsageError:
            return None


def get_target(text: str) -> Target:
    """The target that a text such as `cpu` or `cpu:threads=1` describes; see `Target.parse`."""
    return Target.parse(text)


def list_targets() -> tuple[Target, ...]:
    """Every target that has a name and can be read, with its settings on this machine, by name.

    Raises:
        UsageError: The user's folder of targets cannot be read.
    """
    return tuple(Target.from_found(entry.found) for entry in entries() if entry.found is not None)


def _count(threads: int | str) -> int:
    return usable_cores() if threads == PHYSICAL else int(threads)
