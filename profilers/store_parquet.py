"""Cost files as Parquet: a table of rounds, with environments and sentinels in its metadata.

The columns are those of `RoundRecord`, so that any tool reads the rounds as they are: `samples` are
lists of seconds, `measured` is UTC. The file's metadata has the entries `derycc.format` (the text
`derycc.costs/1`), `derycc.environments` and `derycc.sentinels` (JSON lists of the objects that a
JSON Lines file has as lines).
"""

import json
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

from profilers.store_records import FORMAT, RECORD, Record, RoundRecord, record
from targets.errors import UsageError

if TYPE_CHECKING:
    from pyarrow import Schema

_AT_ONCE = 1000


def write_parquet(stream: IO[bytes], found: Iterable[Record]) -> int:
    """Writes records as a Parquet file and returns how many they were.

    Raises:
        UsageError: pyarrow is not installed.
    """
    _require_pyarrow()
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetWriter

    beside: dict[str, list[Any]] = {"environment": [], "sentinel": []}
    waiting: list[dict[str, Any]] = []
    count = 0
    schema = _schema()
    with ParquetWriter(stream, schema) as writer:
        for each in found:
            count += 1
            if isinstance(each, RoundRecord):
                waiting.append(_row(each))
            else:
                beside[each.kind].append(RECORD.dump_python(each, mode="json"))
            if len(waiting) == _AT_ONCE:
                writer.write_batch(RecordBatch.from_pylist(waiting, schema))
                waiting.clear()
        writer.write_batch(RecordBatch.from_pylist(waiting, schema))
        writer.add_key_value_metadata(
            {
                "derycc.format": FORMAT,
                "derycc.environments": json.dumps(beside["environment"], allow_nan=False),
                "derycc.sentinels": json.dumps(beside["sentinel"], allow_nan=False),
            }
        )
    return count


def read_parquet(stream: IO[bytes], file: str) -> Iterator[Record]:
    """Reads a file that `write_parquet` wrote.

    Raises:
        UsageError: pyarrow is not installed, or it is no such file.
    """
    _require_pyarrow()
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(stream)
        yield from _beside(table.metadata.metadata or {}, file)
        number = 0
        for batch in table.iter_batches(_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield record({**row, "kind": "round"}, f"Row {number} of {file!r}")
    except (ArrowException, ValueError, RecursionError) as error:
        raise UsageError(
            f"{file!r} is no Parquet file of costs: {str(error).rstrip('.')}. Nothing was taken "
            "over. Take the file from where it was made."
        ) from error


def _beside(metadata: dict[bytes, bytes], file: str) -> Iterator[Record]:
    """Environments and sentinels."""
    if metadata.get(b"derycc.format") != FORMAT.encode():
        raise UsageError(
            f"{file!r} does not say the format {FORMAT!r}. Nothing was taken over. Name a file "
            f"that 'derycc store export' wrote; update derycc if a newer one wrote it."
        )
    for kind in ("environment", "sentinel"):
        made = json.loads(metadata.get(f"derycc.{kind}s".encode(), b"[]"))
        for number, fields in enumerate(made if isinstance(made, list) else [made], 1):
            where = f"Entry {number} of derycc.{kind}s in {file!r}"
            yield record(fields, where)


def _row(found: RoundRecord) -> dict[str, Any]:
    return {name: getattr(found, name) for name in _schema().names}


def _schema() -> "Schema":
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    return pa.schema(
        [
            ("key", text),
            ("name", text),
            ("environment", text),
            ("protocol", text),
            ("generation", pa.int32()),
            ("session", text),
            ("samples", pa.list_(number)),
            ("load_seconds", number),
            ("capped", pa.bool_()),
            ("measured", pa.timestamp("us", tz="UTC")),
            ("peak_bytes", pa.int64()),
            ("joules", number),
            ("contention", number),
        ]
    )


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401  only whether it is there
    except ImportError as error:
        raise UsageError(
            "Parquet files need pyarrow, which is not installed: pip install 'derycc[parquet]'. "
            "Or use a file that ends in .jsonl."
        ) from error
