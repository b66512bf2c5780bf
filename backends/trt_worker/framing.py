"""Framing: JSON objects on a pipe, each behind its length; both ends use it.

    4 bytes    length of what follows, big-endian
    N bytes    a JSON object in UTF-8

Tensors, graphs and plans are files; a frame names them. The host asks, one thing at a time:

    {"id": 7, "do": "build", ...}

and the worker answers each, with what came of it or with what is wrong:

    {"id": 7, "ok": {...}}
    {"id": 7, "error": {"kind": "parse", "message": "...", "log": ["..."]}}

Version of the protocol: `PROTOCOL`; the first answer, to `hello`, tells the worker's.
"""

import json
import struct
from typing import IO, Any, Dict, Optional

PROTOCOL = 1
MOST_BYTES = 64 * 2**20
"""Of a frame. The longest is what an inspector says of a large network."""

_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """What came is no frame: it is too long, was cut off, or holds no JSON object."""


def write_frame(stream: IO[bytes], content: Dict[str, Any]) -> None:
    """Writes one frame.

    Raises:
        ValueError: A number in it is none of JSON.
        OSError: The other end is gone.
    """
    body = json.dumps(content, allow_nan=False).encode("utf-8")
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def read_frame(stream: IO[bytes]) -> Optional[Dict[str, Any]]:
    """Reads one frame; None where the stream ends before it.

    Raises:
        FrameError: What came is none.
    """
    head = _exactly(stream, _LENGTH.size)
    if not head:
        return None
    if len(head) < _LENGTH.size:
        raise FrameError(f"it ended within the length of a frame: {head!r}")
    (length,) = _LENGTH.unpack(head)
    if length > MOST_BYTES:
        raise FrameError(f"a frame of {length} bytes was announced by {head!r}")
    body = _exactly(stream, length)
    if len(body) < length:
        raise FrameError(f"it ended after {len(body)} of {length} bytes of a frame")
    try:
        content = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame holds no JSON: {body[:80]!r}") from error
    if not isinstance(content, dict):
        raise FrameError(f"a frame holds no JSON object: {body[:80]!r}")
    return content


def _exactly(stream: IO[bytes], count: int) -> bytes:
    """So many bytes, fewer where the stream ends."""
    parts = []
    while count:
        part = stream.read(count)
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
