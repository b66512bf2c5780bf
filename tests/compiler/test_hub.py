"""timm's hub: used where it answers, quickly given up where it does not, never asked twice."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import save_file

from compiler.hub import fetch_pretrained
from compiler.zoo import model_from_file, open_zoo
from targets.errors import UnknownNameError, ZooError


class Nothing(BaseHTTPRequestHandler):
    """A hub that answers, and has nothing."""

    def do_HEAD(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), Nothing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr("compiler.hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The hub's client has the file already."""
    network = timm.create_model("test_resnet", pretrained=False)
    tensors = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    save_file(tensors, tmp_path / "cached.safetensors")
    monkeypatch.setattr(
        "compiler.hub.try_to_load_from_cache", lambda *_: str(tmp_path / "cached.safetensors")
    )
    return tensors


def test_a_hub_out_of_reach_is_said_in_one_paragraph(tmp_path: Path, silent: None) -> None:
    with pytest.raises(ZooError) as caught:
        fetch_pretrained("resnet18", tmp_path)

    text = str(caught.value)
    assert "Cannot fetch the pretrained weights 'resnet18.a1_in1k' of timm: " in text
    assert "HF_ENDPOINT" in text and "resnet18=FILE" in text and "'demo'" in text
    assert not list(tmp_path.rglob("*.safetensors"))


def test_offline_mode_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(ZooError, match="HF_HUB_OFFLINE is set"):
        fetch_pretrained("resnet18", tmp_path)


def test_a_hub_without_the_file_is_said_in_one_paragraph(
    tmp_path: Path, answering: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError("no such repository")

    monkeypatch.setattr("compiler.hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("compiler.hub.create_model", fail)

    with pytest.raises(ZooError, match="of timm: no such repository"):
        fetch_pretrained("resnet18", tmp_path)


def test_what_the_client_has_is_used_without_asking(
    tmp_path: Path, silent: None, cached: dict[str, torch.Tensor]
) -> None:
    path = fetch_pretrained("test_resnet", tmp_path / "home")

    found = model_from_file(path)
    assert found.name == "test_resnet.r160_in1k"
    assert found.licence == "apache-2.0"
    assert found.source == "timm pretrained test_resnet.r160_in1k"
    assert found.preprocessing.input_size == 160
    assert torch.equal(found.load().state_dict()["conv1.0.weight"], cached["conv1.0.weight"])


def test_what_is_in_the_workspace_is_not_fetched_again(
    tmp_path: Path, cached: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_zoo(tmp_path, "timm:test_resnet")
    monkeypatch.setattr("compiler.hub._tensors", None)

    assert open_zoo(tmp_path, "test_resnet.r160_in1k").names == ("test_resnet.r160_in1k",)


def test_an_architecture_without_pretrained_weights_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="use random:efficientnet_lite1 where only latency matters"):
        fetch_pretrained("efficientnet_lite1", tmp_path)


def test_a_wrong_tag_names_the_right_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Known: resnet34\.a1_in1k"):
        fetch_pretrained("resnet34.wrong", tmp_path)


def test_a_network_that_takes_no_square_picture_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = SimpleNamespace(
        architecture="wide", tag="x", has_weights=True, input_size=(3, 224, 448), license=None
    )
    monkeypatch.setattr("compiler.hub.get_pretrained_cfg", lambda *_, **__: wide)

    with pytest.raises(ZooError, match=r"'wide\.x' cannot be used: An input of 224x448 pixels"):
        fetch_pretrained("wide.x", tmp_path)
