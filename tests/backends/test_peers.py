"""Peers: other runtimes that engines are compared with compute the same, and say when absent."""

import sys

import numpy as np
import onnxruntime
import pytest

from backends.model import ExportedModel
from backends.registry import PEERS, get_peer, list_backends
from targets.errors import TargetUnavailableError, UnknownNameError, UsageError
from targets.target import get_target

X = {"x": np.array([[1, 1]], np.float32)}
TARGET = get_target("cpu:threads=1")


@pytest.fixture(params=sorted(PEERS))
def peer(request: pytest.FixtureRequest) -> str:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    return str(request.param)


def test_a_peer_computes_and_can_be_timed(linear: ExportedModel, peer: str) -> None:
    with get_peer(peer).compile(linear, TARGET) as engine:
        found = engine.run(X)
        again = engine.run({"x": np.array([[0, 0]], np.float32)})
        seconds = engine.time(X, 3)

    assert found["y"].tolist() == [[5.0, 0.0, 10.0]]
    assert again["y"].tolist() == [[0.0, 0.0, 1.0]]
    assert seconds > 0
    assert engine.load_seconds > 0


def test_a_model_that_a_peer_cannot_load_is_said(peer: str) -> None:
    broken = ExportedModel(b"no model", (), (), "broken")

    with pytest.raises(UsageError, match="cannot load the model 'broken'"):
        get_peer(peer).compile(broken, TARGET)


def test_of_plain_onnx_runtime_the_number_of_threads_is_set_alone(
    linear: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[onnxruntime.SessionOptions] = []
    session = onnxruntime.InferenceSession

    def spy(model: bytes, given: onnxruntime.SessionOptions, **more: object) -> object:
        seen.append(given)
        return session(model, given, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)

    get_peer("onnxruntime").compile(linear, get_target("cpu:threads=2,spinning=off")).close()

    (found,) = seen
    assert found.intra_op_num_threads == 2
    with pytest.raises(RuntimeError):  # it was never set
        found.get_session_config_entry("session.set_denormal_as_zero")


def test_a_runtime_that_is_not_installed_says_how_to_get_it(
    linear: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(TargetUnavailableError, match=r"pip install 'derycc\[peers\]'"):
        get_peer("openvino").compile(linear, TARGET)
    assert get_peer("openvino").versions() == {}


def test_peers_are_no_backends_of_targets() -> None:
    assert not set(PEERS) & set(list_backends())
    with pytest.raises(UnknownNameError, match=r"Unknown peer 'openvin'\. Did you mean 'openvino'"):
        get_peer("openvin")
