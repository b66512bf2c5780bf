"""FeatureStore: features of images on disk, written batch by batch, resumable at any of them.

One .npy file for each boundary holds (images, channels) in float32. A journal beside them says
which batches are there, with a checksum for every file: a batch that the journal does not know, or
whose rows have another checksum, is made again. So a run may be killed at any moment, a file may be
damaged or deleted, and two processes may write the same features at once.
"""

import json
import os
import re
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.cache import unwritable

JOURNAL = "batches.jsonl"
Features = NDArray[np.float32]

_DTYPE = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """Rows of one file of features, read when sliced: nothing is held, no file stays open.

    Attributes:
        path: the .npy file.
        offset: where its numbers begin, in bytes.
        start: the first row that belongs to this range.
        stop: the row behind its last one.
        channels: numbers in a row.
    """

    path: Path
    offset: int
    start: int
    stop: int
    channels: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and channels."""
        return self.stop - self.start, self.channels

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, rows: slice) -> Features:
        """These rows of the range, (rows, channels), read now."""
        first, last, _ = rows.indices(len(self))
        count = max(0, last - first)
        width = self.channels * _DTYPE.itemsize
        offset = self.offset + (self.start + first) * width
        found = np.fromfile(self.path, _DTYPE, count * self.channels, offset=offset)
        return found.reshape(count, self.channels)

    def part(self, first: int, last: int) -> "StoredFeatures":
        """The rows from `first` to before `last` of this range, unread."""
        return replace(self, start=self.start + first, stop=self.start + last)


class FeatureStore:
    """The features of a fixed number of images at a fixed list of places, in one folder."""

    def __init__(self, folder: Path, widths: Sequence[tuple[str, int]], images: int, batch: int):
        """Open the folder, and make what is not there.

        Args:
            folder: of this store alone.
            widths: name and channels of every place.
            images: rows of every file.
            batch: rows that are written at once; the last batch may have fewer.

        Raises:
            WorkspaceError: the folder cannot be written.
        """
        self.folder = folder
        self.images = images
        self.batch = batch
        self._journal = folder / JOURNAL
        self.features = tuple(self._file(number, *width) for number, width in enumerate(widths))

    @property
    def batches(self) -> int:
        """How many batches all images are."""
        return -(-self.images // self.batch)

    def rows(self, batch: int) -> range:
        """The images of a batch."""
        return range(batch * self.batch, min((batch + 1) * self.batch, self.images))

    def missing(self) -> tuple[int, ...]:
        """The batches that are not there whole and undamaged, in order."""
        written = self._written()
        return tuple(
            b for b in range(self.batches) if b not in written or written[b] != self._checksums(b)
        )

    def write(self, batch: int, features: Sequence[Features]) -> None:
        """Put one batch into every file, then into the journal.

        Args:
            batch: its number.
            features: (rows of the batch, channels) for every place, in order.

        Raises:
            WorkspaceError: the folder cannot be written.
        """
        for stored, rows in zip(self.features, features, strict=True):
            assert rows.shape == (len(self.rows(batch)), stored.channels)
            try:
                with stored.path.open("r+b") as file:
                    start = self.rows(batch).start * stored.channels * _DTYPE.itemsize
                    file.seek(stored.offset + start)
                    file.write(np.ascontiguousarray(rows, _DTYPE).tobytes())
            except OSError as error:
                raise unwritable(stored.path, error) from error
        self._note(batch)

    def _note(self, batch: int) -> None:
        # A line begins with its line end: what a killed process left of one stays alone.
        line = "\n" + json.dumps({"batch": batch, "crc32": self._checksums(batch)})
        try:
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise unwritable(self._journal, error) from error

    def _written(self) -> dict[int, list[int]]:
        """Checksums of every batch that the journal knows; lines that cannot be read are none."""
        if not self._journal.exists():
            return {}
        written = {}
        for line in self._journal.read_text("utf-8", "replace").splitlines():
            try:
                entry = json.loads(line)
                written[entry["batch"]] = entry["crc32"]
            except (ValueError, KeyError, TypeError):
                continue
        return written

    def _checksums(self, batch: int) -> list[int]:
        rows = self.rows(batch)
        return [zlib.crc32(f[rows.start : rows.stop].tobytes()) for f in self.features]

    def _file(self, number: int, name: str, channels: int) -> StoredFeatures:
        path = self.folder / f"{number:03}.{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.npy"
        header = npy_header((self.images, channels), _DTYPE)
        size = len(header) + self.images * channels * _DTYPE.itemsize
        if not _is_whole(path, header, size):
            _create(path, header, size)
        return StoredFeatures(path, len(header), 0, self.images, channels)


def npy_header(shape: tuple[int, int], dtype: np.dtype[Any]) -> bytes:
    """What a .npy file of an array of this shape and type begins with."""
    stream = BytesIO()
    fields = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


def _is_whole(path: Path, header: bytes, size: int) -> bool:
    """Whether a file begins with this header and has this size: never parsed, so never misread."""
    try:
        with path.open("rb") as file:
            return file.read(len(header)) == header and path.stat().st_size == size
    except (FileNotFoundError, NotADirectoryError):
        return False


def _create(path: Path, header: bytes, size: int) -> None:
    """A file of zeros, which takes no space until it is written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            whole = Path(folder) / path.name
            whole.write_bytes(header)
            os.truncate(whole, size)
            whole.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
