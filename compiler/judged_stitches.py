"""Judged stitches: the drops that were really measured, kept for all later builds of the home."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from compiler.cache import Cache, digest, exclusive, write_atomic
from compiler.candidates import Photographs
from compiler.drop_model import DropObservation
from compiler.export import TOOLCHAIN
from compiler.network import Blueprint
from compiler.zoo import Zoo
from targets.errors import DataError, UsageError, WorkspaceError

FORMAT = "derycc.drops/1"


@dataclass(frozen=True, slots=True)
class _Row:
    network: Blueprint
    seen: DropObservation


@dataclass(frozen=True, slots=True)
class _Content:
    format: str
    rows: tuple[_Row, ...]


@cache
def _adapter() -> TypeAdapter[_Content]:
    return TypeAdapter(_Content)


class JudgedStitches:
    """The file of one zoo, one set of photographs and one reference donor, at all input sizes."""

    def __init__(self, cache: Cache, zoo: Zoo, photographs: Photographs, reference: str) -> None:
        identities = sorted(model.identity for model in zoo.models)
        key = digest(FORMAT, identities, photographs.digest, reference, TOOLCHAIN, *_shown(zoo))
        self._path = cache.path("drops", key).with_suffix(".json")

    @property
    def path(self) -> Path:
        """Where they are kept."""
        return self._path

    @property
    def sha256(self) -> str | None:
        """Of the file; None: nothing was judged yet."""
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError:
            return None

    def read(self) -> dict[Blueprint, DropObservation]:
        """All drops measured so far, by network; a file that is damaged or another's holds none.

        Raises:
            WorkspaceError: it is there and cannot be read.
        """
        try:
            content = _adapter().validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError, DataError, UsageError):
            return {}
        except OSError as error:
            raise WorkspaceError(
                f"Cannot read the drops that were judged, {self._path}: {error.strerror}. Restore "
                "the file's rights, or remove it and judge again."
            ) from error
        if content.format != FORMAT:
            return {}
        return {row.network: row.seen for row in content.rows}

    def add(self, seen: Mapping[Blueprint, DropObservation]) -> None:
        """Keep these beside those that are there; a network judged again counts once.

        Several processes may do so at the same time.

        Raises:
            WorkspaceError: the file cannot be read or written.
        """
        with exclusive(self._path):
            known = {**self.read(), **seen}
            rows = tuple(_Row(network, known[network]) for network in sorted(known, key=str))
            write_atomic(self._path, _adapter().dump_json(_Content(FORMAT, rows), indent=1))


def _shown(zoo: Zoo) -> tuple[object, ...]:
    """How photographs are shown where stitches are fitted; nothing where all donors want the same.

    The order of the donors makes no difference.
    """
    wants = [model.preprocessing for model in zoo.models]
    if len({(one.crop, one.interpolation) for one in wants}) == 1:
        return ()
    return zoo.geometry.crop, zoo.geometry.interpolation
