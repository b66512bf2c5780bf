"""`VerifyFile`: what was last found when a build's engine was compared with its torch network.

`derycc build` writes it, and `derycc verify` writes it anew, so that it is no part of what the
manifest holds by hash: it says itself which model it is about. Without one that passed, nothing is
benchmarked or exported (design, section 7).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from compiler.cache import write_atomic
from compiler.divergence import Divergence
from compiler.formats import check_format, first_fault, parsed, read_text
from derycc.manifest import VERIFY_FILE, Manifest
from targets.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from compiler.verification import Verification

FORMAT = "derycc.verify/1"
_MOST_BYTES = 2**22


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore"))
class OnTarget:
    """One target's engine beside the torch network; see `compiler.verification.Verification`.

    Attributes:
        failures: what keeps it from being published, in words.
        diverges: where it first differs; None where it passed, or nobody looked.
    """

    target: str
    passed: bool
    images: int
    cosine: float | None
    max_abs_error: float | None
    top1_agreement: float
    repeatable: bool
    gate: float
    precision: str = "fp32"
    agreement_gate: float | None = None
    worst: int = 0
    drop: float | None = None
    max_drop: float | None = None
    failures: tuple[str, ...] = ()
    diverges: Divergence | None = None


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore"))
class VerifyFile:
    """The content of `verify.json`.

    Attributes:
        model_sha256: of the model.onnx that was compared.
        photographs: where they came from.
        targets: one row for each that it was built for.
        pieces: of a network with int8 parts, the precision that each segment runs in.
    """

    model_sha256: str
    photographs: str
    targets: tuple[OnTarget, ...]
    pieces: tuple[dict[str, Any], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it may be published: every target's engine does what the network does."""
        return bool(self.targets) and all(one.passed for one in self.targets)

    def content(self) -> dict[str, Any]:
        """What the file holds."""
        return {"format": FORMAT, "passed": self.passed, **asdict(self)}

    def write(self, folder: Path) -> None:
        """Write it into a build, whole or not at all.

        Raises:
            WorkspaceError: the folder cannot be written.
        """
        plain = json.loads(json.dumps(self.content()), parse_constant=lambda _: None)
        text = json.dumps(plain, indent=2, allow_nan=False)
        write_atomic(folder / VERIFY_FILE, f"{text}\n".encode())
        (folder / VERIFY_FILE).chmod(0o644)


def on_target(target: str, found: "Verification", diverges: Divergence | None = None) -> OnTarget:
    """One row, from what was found."""
    told = {**asdict(found), "passed": found.passed, "failures": found.failures}
    return OnTarget(target=target, diverges=diverges, **told)


def pieces_of(papers: Manifest) -> tuple[dict[str, Any], ...]:
    """What the manifest says of every segment's precision; nothing where all is in fp32."""
    return tuple(map(asdict, papers.precision.pieces)) if papers.precision else ()


def read_verify_file(folder: Path) -> VerifyFile | None:
    """What a build's verify.json says; None where there is none, or one of before `/1`.

    Raises:
        UsageError: it is damaged.
    """
    path = folder / VERIFY_FILE
    if path.is_symlink() or not path.is_file():
        return None
    where = f"The file '{path}'"
    content = parsed(read_text(path, "file", FORMAT, most_bytes=_MOST_BYTES), where, FORMAT)
    if isinstance(content, Mapping) and "format" not in content:
        return None  # written by `derycc build` before the file had a format
    try:
        return _adapter().validate_python(check_format(content, where, FORMAT))
    except ValidationError as error:
        raise UsageError(
            f"{where} cannot be used: {first_fault(error)} Or write it anew: derycc verify "
            f"{folder}."
        ) from error


def sha256_of(path: Path) -> str:
    """The sha256 of a file (hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_verified(folder: Path, unverified: bool = False) -> str | None:
    """Refuse a build whose engine was not found to compute what its network computes.

    Args:
        folder: the build; its model.onnx is there.
        unverified: let it pass, and say what is missing.

    Returns:
        What must be said of it where it is let pass; None where nothing is missing.

    Raises:
        VerificationError: it failed, or nobody looked; the message says what to do.
    """
    why = _missing(folder)
    if why is None:
        return None
    if unverified:
        return f"UNVERIFIED: {why} Its numbers are worth nothing until derycc verify passes."
    raise VerificationError(
        f"{why} Run derycc verify {folder} first, or say --unverified to go on without it."
    )


def _missing(folder: Path) -> str | None:
    found = read_verify_file(folder)
    if found is None:
        return f"The engine of {folder} was not compared with its torch network."
    if found.model_sha256 != sha256_of(folder / "model.onnx"):
        return f"{folder / VERIFY_FILE} is about another model.onnx than the one that is there."
    failed = [one for one in found.targets if not one.passed]
    if failed:
        said = "; ".join(failed[0].failures) or "it failed"
        return f"The engine of {folder} failed its verification on {failed[0].target}: {said}."
    return None if found.targets else f"{folder / VERIFY_FILE} tells of no target."


@cache
def _adapter() -> TypeAdapter[VerifyFile]:
    return TypeAdapter(VerifyFile)
