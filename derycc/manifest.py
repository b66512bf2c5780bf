"""`Manifest`: what was built, from what, and predicted beside measured; every build's last file."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from compiler.certificate import Certificate
from derycc.build_files import open_file, read_file
from derycc.manifest_asked import Beliefs, Choice, Constraint, Demands, Replayed, Session
from derycc.manifest_checks import fault
from derycc.manifest_dery import Dery
from derycc.manifest_loop import Round
from derycc.manifest_precision import Precision
from derycc.manifest_targets import OnTarget
from targets.errors import UsageError

FORMAT = "derycc.manifest/3"
READ = ("derycc.manifest/1", "derycc.manifest/2", FORMAT)
"""Formats that are read: 1 knew no recipes and no builds without a budget, 2 no constraints."""

NAME = "manifest.json"
VERIFY_FILE = "verify.json"
"""It says itself which model it is about, and no hash of the manifest holds it."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Predicted and measured, side by side; microseconds.

    Attributes:
        budget_us: what was asked for; None: no budget.
        predicted_us: the model's median, with what the closed loop had learned by then; None:
            nothing was predicted of a recipe.
        predicted_upper_us: its upper end.
        measured_us: median on the target, measured anew after the choice was made.
        measured_interval_us: its 95 percent interval.
        p90_us: 90th percentile.
        p99_us: 99th percentile.
        samples: timed units.
        noisy: whether the measurement says of itself that it should not be trusted.
        within_budget: whether the interval's upper end is within the budget; without one, it is.
    """

    budget_us: float | None
    predicted_us: float | None
    predicted_upper_us: float | None
    measured_us: float
    measured_interval_us: tuple[float, float]
    p90_us: float
    p99_us: float
    samples: int
    noisy: bool
    within_budget: bool


@dataclass(frozen=True, slots=True)
class Score:
    """Quality on one set of images; shares from 0 to 1."""

    images: int
    top1: float | None
    top5: float | None
    agreement: float

    @property
    def score(self) -> float:
        """Top-1, or agreement where there are no labels."""
        return self.agreement if self.top1 is None else self.top1


@dataclass(frozen=True, slots=True)
class Quality:
    """Expected and measured, side by side.

    Attributes:
        expected: what the solver expected on the calibration images; None: it was not asked.
        calibration: measured on those of them that nothing was fitted to: all for a whole donor.
        chosen_by: what the choice between candidates was made by: the calibration score, put on a
            level with that of whole donors.
        held_out: measured on images that nothing was fitted to or chosen by.
        reference: the donor that agreement is counted with.
    """

    expected: float | None
    calibration: Score
    chosen_by: float
    held_out: Score
    reference: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a donor between two of its cuts."""

    model: str
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Donor:
    """Where a lent segment comes from."""

    name: str
    source: str
    licence: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class Network:
    """What was assembled, and how it wants its input.

    Attributes:
        input_size: pixels a side.
        segments: runs of donors between two of their cuts.
        stitches: what joins them, in words.
        params: parameters.
        crop: share of the short side that is kept.
        interpolation: bilinear or bicubic.
        mean: of the channels, for pixels in [0, 1].
        std: their deviations.
        recipe: the `derycc.recipe/1` it was built from, if it says more than the segments.
        untrained: parts that have random weights and must be trained before it is of use.
    """

    input_size: int
    segments: tuple[Segment, ...]
    stitches: tuple[str, ...]
    params: int
    crop: float
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    recipe: dict[str, Any] | None = None
    untrained: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Solver:
    """The certificate of the answer that became this network."""

    name: str
    status: str
    objective: float
    bound: float | None
    gap: float | None
    wall_s: float
    seed: int
    already_tried: int


@dataclass(frozen=True, slots=True)
class Tried:
    """One candidate of the closed loop; `score` is what it was chosen by, if not its quality."""

    network: str
    predicted_us: float
    measured_us: float
    measured_upper_us: float
    expected: float
    quality: float
    within_budget: bool
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """The engine against the torch network on real photographs: `compiler.verification`."""

    images: int
    cosine: float
    max_abs_error: float
    top1_agreement: float
    repeatable: bool
    gate: float
    passed: bool
    precision: str = "fp32"
    agreement_gate: float | None = None
    worst: int = 0
    drop: float | None = None
    max_drop: float | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """The photographs that were used."""

    calibration: int
    held_out: int
    labelled: bool
    source: str
    digest: str
    caution: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A build: what it is, what it was made from, what was promised and what was measured.

    Attributes:
        format: `derycc.manifest/3`.
        derycc: version of this program.
        versions: of the packages that matter.
        target: the device and its settings, as `--target` takes them.
        environment: fingerprint of the machine that was measured.
        machine: what the fingerprint was made from, and what else is known of the machine.
        budget: as the user wrote it; None: there is none.
        zoo: as the user wrote it; None: the demo donors.
        network: what was assembled.
        donors: whose blocks are in it.
        latency: predicted beside measured.
        quality: expected beside measured.
        solver: proof of the answer; None where the network was written down by hand.
        tried: all candidates of the closed loop, best first.
        verified: that the engine computes what the network computes.
        data: the photographs.
        files: sha256 of every other file of the folder.
        dery: how DeRy mode came to the network; None: it was not asked for.
        constraints: every resource that is known of; empty in earlier formats.
        demands: what else was asked for; None in earlier formats.
        session: the command's other options; None in earlier formats.
        beliefs: what the chosen network was predicted by; None in earlier formats, and where it was
            written down by hand.
        targets: every target it was built for, `target` first; empty in builds that knew one.
        certificate: what the search proved of networks that it did not build, and why it stopped;
            None in earlier formats, and where nothing was searched for.
        rounds: every candidate, in the order in which they were tried; empty likewise.
        warnings: why the network should not be used as it is; empty in earlier formats.
        choice: what the network was chosen by; None: in DeRy mode (`dery` tells it), for the least
            latency, in earlier builds, and where nothing was searched for.
        replayed: how it compares with the lock it was built from; None: it was not built from one.
        precision: of a network with int8 parts; None: all of it is in fp32.
        int8: what the search could put in int8, in words; None: it was not asked to.
    """

    format: str
    derycc: str
    versions: dict[str, str]
    target: str
    environment: str
    machine: dict[str, Any]
    budget: str | None
    zoo: str | None
    network: Network
    donors: tuple[Donor, ...]
    latency: Latency
    quality: Quality
    solver: Solver | None
    tried: tuple[Tried, ...]
    verified: Verified
    data: Data
    files: dict[str, str]
    dery: Dery | None = None
    constraints: tuple[Constraint, ...] = ()
    demands: Demands | None = None
    session: Session | None = None
    beliefs: Beliefs | None = None
    targets: tuple[OnTarget, ...] = ()
    certificate: Certificate | None = None
    rounds: tuple[Round, ...] = ()
    warnings: tuple[str, ...] = ()
    choice: Choice | None = None
    replayed: Replayed | None = None
    precision: Precision | None = None
    int8: str | None = None

    def to_json(self) -> bytes:
        """As it is written to `manifest.json`."""
        return _adapter().dump_json(self, indent=2) + b"\n"


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What every format of a manifest says first."""

    format: str
    derycc: str = "unknown"


@cache
def _stamp() -> TypeAdapter[_Stamp]:
    return TypeAdapter(_Stamp)


@cache
def _adapter() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def check_files(build: Path, manifest: Manifest) -> None:
    """Refuse a build whose files are not those that were written.

    Raises:
        UsageError: naming the first file that is gone or changed.
    """
    for name, expected in manifest.files.items():
        if name == VERIFY_FILE:
            continue  # written anew by `derycc verify`; earlier builds held it by hash
        with open_file(build, name) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise changed(build / name, found, expected)


def changed(path: Path, found: str, expected: str) -> UsageError:
    """What to raise of a file whose hash is another than the manifest says."""
    return UsageError(
        f"{path} is not the file that was built: its sha256 begins {found[:12]}, the manifest says "
        f"{expected[:12]}. Build again, or restore it."
    )


def read_manifest(build: Path) -> Manifest:
    """The manifest of a build folder.

    Raises:
        UsageError: the folder is no finished build.
    """
    path = build / NAME
    if not path.is_symlink() and not path.is_file():
        reason = "it is no file" if path.exists() else "No such file or directory"
        raise UsageError(
            f"{build} is no finished build: its {NAME} cannot be read ({reason}). Give a "
            "folder that `derycc build` has written."
        )
    content = read_file(build, NAME)
    try:
        _check_format(path, content)
        found = _adapter().validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise _damaged(path, f"{where}: {first['msg']}") from error
    wrong = fault(found)
    if wrong:
        raise _damaged(path, wrong)
    return found


def _damaged(path: Path, wrong: str) -> UsageError:
    return UsageError(f"{path} is damaged: {wrong}. Build again, or restore the file.")


def _check_format(path: Path, content: bytes) -> None:
    """Another format has other fields: it is refused before they are looked for."""
    said = _stamp().validate_json(content)
    if said.format not in READ:
        known = " and ".join((", ".join(map(repr, READ[:-1])), repr(READ[-1])))
        raise UsageError(
            f"{path} has the format {said.format!r}; this derycc reads {known}. Use the derycc "
            f"that wrote it (version {said.derycc})."
        )
