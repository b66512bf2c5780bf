"""Reaching out: hosts that answer, refuse, break off, or are not there."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from compiler.progress import Silent
from compiler.reach import download, first_line, refusal

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Host(BaseHTTPRequestHandler):
    """Serves one file; `/cut` promises more than it gives, `/nonsense` is no HTTP at all."""

    def do_HEAD(self) -> None:
        self.send_error(403)

    def do_GET(self) -> None:
        if self.path == "/nonsense":
            self.wfile.write(b"nonsense\r\n")
            return
        extra = 10 if self.path == "/cut" else 0
        self.send_response(200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(CONTENT) + extra))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


class Heard(Silent):
    def __init__(self) -> None:
        self.said: list[object] = []

    def start(self, phase: str, total: int | None) -> None:
        self.said.append((phase, total))

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        self.said.append(done)

    def finish(self, summary: str = "") -> None:
        self.said.append(summary)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = HTTPServer(("127.0.0.1", 0), Host)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_host_that_refuses_is_there(host: str) -> None:
    assert refusal(f"{host}/anything") is None


def test_a_host_that_is_not_there_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    assert "refused" in str(refusal("http://127.0.0.1:9/file")).lower()
    assert refusal("nonsense") is not None


def test_a_file_is_fetched_whole_with_progress(host: str, tmp_path: Path) -> None:
    heard = Heard()

    download(f"{host}/file", tmp_path / "deep" / "a.pth", SHA256[:8], heard)

    assert (tmp_path / "deep" / "a.pth").read_bytes() == CONTENT
    assert heard.said == [("fetching a.pth (MB)", 1), 1, 1, "fetched a.pth"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.pth"]


def test_a_file_of_unknown_size_is_fetched_as_well(host: str, tmp_path: Path) -> None:
    heard = Heard()

    download(f"{host}/endless", tmp_path / "a.pth", SHA256, heard)

    assert heard.said[0] == ("fetching a.pth (MB)", None)


@pytest.mark.parametrize(
    ("path", "sha256", "words"),
    [
        ("file", "00000000", r"has the SHA-256 \w{64}, not 00000000\.\.\."),
        ("cut", "00000000", "has the SHA-256"),
        ("nonsense", SHA256, r"the host talks nonsense \(BadStatusLine\)"),
    ],
)
def test_a_file_that_is_not_the_right_one_leaves_nothing(
    host: str, tmp_path: Path, path: str, sha256: str, words: str
) -> None:
    with pytest.raises(OSError, match=words):
        download(f"{host}/{path}", tmp_path / "a.pth", sha256, Silent())

    assert list(tmp_path.iterdir()) == []


def test_an_error_that_says_nothing_is_named_by_its_class() -> None:
    assert first_line(ValueError("a\nb")) == "a"
    assert first_line(TimeoutError()) == "TimeoutError"
