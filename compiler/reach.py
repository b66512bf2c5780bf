"""Reaching out: whether a host answers, and one file of it by its hash, with little patience."""

import hashlib
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from compiler.progress import Progress

PATIENCE_S = 5.0
"""Seconds without a word after which a host counts as out of reach."""

_CHUNK = 1 << 20


def refusal(address: str) -> str | None:
    """Why the host of an address does not answer, in one line; None where it does.

    Any answer will do, also a refusal: what is asked is whether there is anybody.
    """
    host = "{0.scheme}://{0.netloc}".format(urlsplit(address))
    try:
        request = urllib.request.Request(host, method="HEAD")
        urllib.request.urlopen(request, timeout=PATIENCE_S).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except (OSError, ValueError, HTTPException) as error:
        return first_line(getattr(error, "reason", error))
    return None


def download(address: str, path: Path, sha256: str, progress: Progress) -> None:
    """One file, whole or not at all.

    Args:
        address: of the file.
        path: where it goes; its folder is made.
        sha256: the digest in hex, or its first digits.
        progress: told of megabytes, in a phase that is begun and ended here.

    Raises:
        OSError: the host does not answer or breaks off, the file is another one, or the folder
            cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetching-") as folder:
        part = Path(folder) / path.name
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
                size = int(answer.headers.get("Content-Length") or 0)
                progress.start(f"fetching {path.name} (MB)", size // _CHUNK or None)
                with part.open("wb") as file:
                    found = _copy(answer, file, progress)
        except HTTPException as error:
            raise ConnectionError(f"the host talks nonsense ({type(error).__name__})") from error
        if not found.startswith(sha256):
            raise OSError(f"the file at {address} has the SHA-256 {found}, not {sha256}...")
        part.replace(path)
    progress.finish(f"fetched {path.name}")


def first_line(reason: object) -> str:
    """The first line of what an error says; its class where it says nothing."""
    return (str(reason).splitlines() or [type(reason).__name__])[0]


def _copy(source: BinaryIO, file: BinaryIO, progress: Progress) -> str:
    """Copy all of it; the SHA-256 in hex."""
    total = hashlib.sha256()
    done = 0
    while chunk := source.read(_CHUNK):
        total.update(chunk)
        file.write(chunk)
        done += len(chunk)
        progress.update(done // _CHUNK)
    return total.hexdigest()
