"""A cost store as one file, `derycc.costs/1`: JSON Lines, or Parquet for tables and notebooks.

JSON Lines, UTF-8, one object a line:

    {"format": "derycc.costs/1"}                                                 the first line
    {"kind": "environment", "fingerprint": "...", "content": {...}, "first_seen": "2026-11-01T..."}
    {"kind": "sentinel", "environment": "...", "protocol": "...", "session": "...", "seconds": ...}
    {"kind": "round", "key": "...", "name": "...", "environment": "...", "protocol": "...",
     "generation": 0, "session": "...", "samples": [...], "load_seconds": ..., "capped": false,
     "measured": "...", "peak_bytes": null, "joules": null, "contention": null}
    {"kind": "end", "records": 123}                                              the last line

An environment stands before what was measured in it. Times are ISO 8601 with their offset, samples
seconds per inference. The number in the last line is that of the lines between it and the first, so
that a file that was cut off is noticed. `store_parquet` says how the same lies in a Parquet file.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from profilers.store import CostStore
from profilers.store_merge import Absorbed, absorb
from profilers.store_parquet import read_parquet, write_parquet
from profilers.store_records import FORMAT, RECORD, Record, record, records
from targets.errors import UnknownNameError, UsageError, WorkspaceError

_MOST_BYTES = 2**26  # of a line: a round of a million samples has 20 MB


def export_store(
    store: CostStore, file: Path, format: str | None = None, fingerprint: str | None = None
) -> int:
    """Writes a store into a file, which appears when it is complete.

    Args:
        store: What to write.
        file: Takes it; one of that name is replaced.
        format: `jsonl` or `parquet`; None: by the file's suffix.
        fingerprint: Only this environment; None: all.

    Returns:
        How many records were written.

    Raises:
        UsageError: The format is not known, or pyarrow is needed and not installed.
        WorkspaceError: The file cannot be written.
    """
    write = _WRITERS[file_format(file, format)]
    half = file.with_name(f".{file.name}.half")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with store.transaction() as connection, half.open("wb") as stream:
            count = write(stream, records(connection, fingerprint))
        half.replace(file)
    except OSError as error:
        raise WorkspaceError(
            f"Cannot write {str(file)!r}: {error.strerror or error}. Name a file in a folder that "
            f"can be written and has room."
        ) from error
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)
    return count


def import_file(
    store: CostStore, file: Path, format: str | None = None, dry: bool = False
) -> Absorbed:
    """Takes over from a file what the store does not have: all of it, or nothing.

    Args:
        store: Takes.
        file: A file that `export_store` wrote.
        format: `jsonl` or `parquet`; None: by the file's suffix.
        dry: Only count.

    Raises:
        UsageError: The file cannot be read, or a line of it; the message has its number.
        WorkspaceError: The store cannot be written.
    """
    read = _READERS[file_format(file, format)]
    try:
        with file.open("rb") as stream:
            return absorb(store, read(stream, str(file)), dry)
    except OSError as error:
        raise UsageError(
            f"Cannot read {str(file)!r}: {error.strerror or error}. Nothing was taken over. Name "
            f"a file that 'derycc store export' wrote."
        ) from error


def file_format(file: Path, asked: str | None = None) -> str:
    """The format that was asked for, or that of the file's suffix.

    Raises:
        UsageError: It is none that is known.
    """
    name = asked or file.suffix.lower().removeprefix(".")
    if name not in _WRITERS and asked is None:
        raise UsageError(
            f"The suffix of {str(file)!r} tells no format of cost files. Name it by --format: "
            f"{' or '.join(_WRITERS)}."
        )
    if name not in _WRITERS:
        raise UnknownNameError("format of a cost file", name, _WRITERS)
    return name


def _write_lines(stream: IO[bytes], found: Iterable[Record]) -> int:
    count = 0
    _write_line(stream, {"format": FORMAT})
    for each in found:
        _write_line(stream, RECORD.dump_python(each, mode="json"))
        count += 1
    _write_line(stream, {"kind": "end", "records": count})
    return count


def _write_line(stream: IO[bytes], fields: dict[str, Any]) -> None:
    stream.write(json.dumps(fields, allow_nan=False).encode() + b"\n")


def _read_lines(stream: IO[bytes], file: str) -> Iterator[Record]:
    number, where = 1, f"Line 1 of {file!r}"
    if _line(stream, where).get("format") != FORMAT:
        raise UsageError(
            f"{where} does not say the format {FORMAT!r}. Nothing was taken over. Name a file "
            f"that 'derycc store export' wrote; update derycc if a newer one wrote it."
        )
    while True:
        number += 1
        where = f"Line {number} of {file!r}"
        fields = _line(stream, where)
        if fields.get("kind") == "end":
            break
        yield record(fields, where)
    if fields.get("records") != number - 2 or stream.read(1):
        raise UsageError(
            f"{where} says that it is the last one, after {fields.get('records')} records, and "
            f"there are {number - 2} before it or more lines behind it. Nothing was taken over. "
            f"Take the file from where it was made."
        )


def _line(stream: IO[bytes], where: str) -> dict[str, Any]:
    line = stream.readline(_MOST_BYTES)
    if not line.endswith(b"\n"):
        what = "is missing" if not line else "is cut off"
        raise UsageError(
            f"{where} {what}: the file is not complete. Nothing was taken over. Export it again."
        )
    try:
        fields = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{where} is no JSON: {error}. Nothing was taken over. Take the file from where it "
            f"was made."
        ) from error
    if not isinstance(fields, dict):
        raise UsageError(f"{where} is no JSON object. Nothing was taken over.")
    return fields


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


_WRITERS: dict[str, Callable[[IO[bytes], Iterable[Record]], int]] = {
    "jsonl": _write_lines,
    "parquet": write_parquet,
}
_READERS: dict[str, Callable[[IO[bytes], str], Iterator[Record]]] = {
    "jsonl": _read_lines,
    "parquet": read_parquet,
}
