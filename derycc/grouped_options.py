"""Options in groups: a command takes a dataclass, the command line has an option for each field."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from derycc.options import (
    BuildSeconds,
    CandidateCount,
    Data,
    Home,
    JudgeData,
    PerRound,
    Quick,
    Sizes,
    StoreText,
    TargetText,
    ViewCount,
    ZooText,
)
from targets.budget import (
    Budget,
    parse_bytes,
    parse_count,
    parse_drop,
    parse_energy,
    parse_quality,
)

if TYPE_CHECKING:
    from derycc.session import Options

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Measuring:
    """What commands that measure a zoo on a target have in common; `Options` has it parsed."""

    home: Home
    target: TargetText = "cpu"
    zoo: ZooText = None
    size: Sizes = None
    data: Data = None
    quick: Quick = False
    store: StoreText = None

    def options(self) -> "Options":
        """The same for a session."""
        from derycc.session import Options

        sizes = tuple(self.size or ())
        found = Options(self.home, self.target, self.zoo, sizes, self.data)
        return replace(found, quick=self.quick, store=self.store)


@dataclass(frozen=True, slots=True)
class Bench(Measuring):
    """What commands that judge networks, too, have in common."""

    judge_data: JudgeData = None
    views: ViewCount = 2

    def options(self) -> "Options":
        """The same for a session."""
        found = Measuring.options(self)
        return replace(found, judge_data=self.judge_data, views=self.views)


@dataclass(frozen=True, slots=True)
class Spending:
    """What a search may spend, as the user wrote it."""

    candidates: CandidateCount = 6
    per_round: PerRound = 1
    build_seconds: BuildSeconds = None

    def fields(self) -> dict[str, Any]:
        """The same as fields of a request."""
        return {
            "candidates": self.candidates,
            "per_round": self.per_round,
            "seconds": self.build_seconds,
        }


@dataclass(frozen=True, slots=True)
class SweepSpending(Spending):
    """The same for every budget of a sweep."""

    candidates: CandidateCount = 4


@dataclass(frozen=True, slots=True)
class Precisions:
    """What networks may be in, as the user wrote it."""

    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="fp32; int8: every block that has an int8 form; or auto: int8 where that is best "
            "and keeps the answers.",
        ),
    ] = "fp32"
    max_drop: Annotated[
        str,
        typer.Option("--max-drop", help="Most score that int8 may cost a network, e.g. 1%."),
    ] = "1%"

    def of(self, options: "Options", mode: str = "normal", score: str | None = None) -> "Options":
        """The options of a session with these, in a mode of `derycc build`, by a score.

        Raises:
            UsageError: a text cannot be read, or nothing here runs that precision.
        """
        from derycc.precision import check_mode, check_precision

        check_precision(self.precision)
        check_mode(mode, score, self.given)
        return replace(options, precision=self.precision, max_drop=parse_drop(self.max_drop))

    @property
    def given(self) -> tuple[str, ...]:
        """The options that were given, as they are written."""
        said = {"--precision": self.precision != "fp32", "--max-drop": self.max_drop != "1%"}
        return tuple(name for name, given in said.items() if given)


Texts = list[str] | None


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a network may cost and must be besides its latency, as the user wrote it."""

    params: Annotated[
        str | None, typer.Option("--params", help="Most parameters, e.g. 5M.", show_default=False)
    ] = None
    macs: Annotated[
        str | None,
        typer.Option("--macs", help="Most multiply-accumulates, e.g. 400M.", show_default=False),
    ] = None
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            help="Most peak memory of loading and running, e.g. 50MB.",
            show_default=False,
        ),
    ] = None
    weight_memory: Annotated[
        str | None,
        typer.Option(
            "--weight-memory", help="Most bytes of weights, e.g. 20MB.", show_default=False
        ),
    ] = None
    energy: Annotated[
        str | None,
        typer.Option(
            "--energy",
            help="Most energy of one inference, e.g. 50mJ; needs a machine with a meter.",
            show_default=False,
        ),
    ] = None
    max_donors: Annotated[
        int | None,
        typer.Option("--max-donors", help="Most different donors.", show_default=False, min=1),
    ] = None
    with_donor: Annotated[
        Texts,
        typer.Option(
            "--with", help="Donor that must lend a block; may be repeated.", show_default=False
        ),
    ] = None
    without_donor: Annotated[
        Texts,
        typer.Option(
            "--without", help="Donor that must lend none; may be repeated.", show_default=False
        ),
    ] = None
    exclude_licence: Annotated[
        Texts,
        typer.Option(
            "--exclude-licence",
            help="No block of donors whose licence contains this text; may be repeated.",
            show_default=False,
        ),
    ] = None
    min_quality: Annotated[
        str | None,
        typer.Option(
            "--min-quality",
            help="Least quality, e.g. 80%; the network of least latency is then looked for. Not "
            "for derycc front, which tells the best quality at every latency.",
            show_default=False,
        ),
    ] = None

    def budget(self, stitches: int) -> Budget:
        """The same as numbers; licences are left to whoever knows the zoo.

        Raises:
            UsageError: a text cannot be read.
        """
        return Budget(
            stitches=stitches,
            params=_parsed(parse_count, self.params),
            macs=_parsed(parse_count, self.macs),
            weight_bytes=_parsed(parse_bytes, self.weight_memory),
            memory_bytes=_parsed(parse_bytes, self.memory),
            energy_j=_parsed(parse_energy, self.energy),
            donors=self.max_donors,
            min_quality=_parsed(parse_quality, self.min_quality),
            required=tuple(dict.fromkeys(self.with_donor or ())),
            excluded=tuple(dict.fromkeys(self.without_donor or ())),
        )

    @property
    def licences(self) -> tuple[str, ...]:
        """Texts of licences that are not wanted."""
        return tuple(self.exclude_licence or ())

    @property
    def given(self) -> tuple[str, ...]:
        """The options that were given, as they are written."""
        names = {"with_donor": "with", "without_donor": "without"}
        found = (f.name for f in fields(self) if getattr(self, f.name))
        return tuple(f"--{names.get(name, name).replace('_', '-')}" for name in found)


def _parsed(parse: Callable[[str], Any], text: str | None) -> Any:
    """What a text says as a plain number, so that files can have it."""
    if text is None:
        return None
    value = parse(text)
    return int(value) if isinstance(value, int) else value


def grouped(command: Command) -> Command:
    """The command as the command line wants it: parameters that are dataclasses taken apart."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        group = groups.get(name)
        own = [parameter.replace(annotation=hints[name])] if group is None else _options(group)
        parameters += own
    parameters.sort(key=lambda parameter: parameter.default is not Parameter.empty)
    flat = Signature(parameters)

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        given = flat.bind(*args, **kwargs)
        given.apply_defaults()
        values = dict(given.arguments)
        for name, group in groups.items():
            values[name] = group(**{f.name: values.pop(f.name) for f in fields(group)})
        command(**values)

    run.__signature__ = flat  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options(group: Any) -> list[Parameter]:
    """A parameter for every field of a dataclass."""
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.POSITIONAL_OR_KEYWORD,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
