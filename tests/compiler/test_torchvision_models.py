"""torchvision's networks: described as it describes them, fetched as it fetches them."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from compiler import torchvision_models
from compiler.preprocessing import Preprocessing
from compiler.zoo import model_from_file, open_zoo
from targets.errors import UnknownNameError, UsageError, ZooError

SMALL = "squeezenet1_1"
WEIGHTS = "SqueezeNet1_1_Weights.IMAGENET1K_V1"


def state(classes: int = 1000) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    network = models.get_model(SMALL, weights=None, num_classes=classes)
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


def save(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)  # noqa: TID251 - what torchvision has
    return path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the host of torchvision's weights serves; its client keeps files somewhere of ours."""
    served = tmp_path / "served"
    served.mkdir()
    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(
        models.get_model_weights(SMALL).IMAGENET1K_V1.value,
        "url",
        f"http://127.0.0.1:{server.server_port}/squeezenet1_1-00000000.pth",
    )
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def serve(folder: Path, monkeypatch: pytest.MonkeyPatch, content: object) -> Path:
    """A file at the weights' address, which ends in its hash."""
    path = save(folder / "new.pth", content)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    weights = models.get_model_weights(SMALL).IMAGENET1K_V1
    monkeypatch.setattr(weights.value, "url", weights.url.replace("00000000", digest))
    return path.rename(folder / f"squeezenet1_1-{digest}.pth")


def test_the_names_are_those_of_networks_that_classify_pictures() -> None:
    names = torchvision_models.names()

    assert names[0] == "alexnet"
    assert {"resnet50", "vit_b_16", "regnet_y_16gf"} <= set(names)
    assert not {"fasterrcnn_resnet50_fpn", "raft_small", "r3d_18"} & set(names)


def test_weights_are_fetched_described_and_kept(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(folder, monkeypatch, state())

    (found,) = open_zoo(tmp_path, f"torchvision:{SMALL}")

    assert found.name == f"torchvision:{SMALL}.IMAGENET1K_V1"
    assert found.architecture == f"torchvision:{SMALL}"
    assert (found.source, found.licence) == (f"torchvision {WEIGHTS}", "BSD-3-Clause (torchvision)")
    assert found.preprocessing == Preprocessing(224, 0.875, "bilinear")
    assert (found.params, found.macs, found.known_top1) == (1_235_496, 349_151_936, 58.178)
    assert len(found.weights_sha256) == 64
    loaded = found.load().state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in state().items())
    served.unlink()
    assert open_zoo(tmp_path, f"torchvision:{SMALL}.DEFAULT").models == (found,)
    assert open_zoo(tmp_path, tmp_path / "zoo").models == (found,)


def test_what_torchvision_has_already_is_not_fetched(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(folder, monkeypatch, state())
    kept = tmp_path / "torch" / "hub" / "checkpoints" / served.name
    kept.parent.mkdir(parents=True)
    served.rename(kept)

    (found,) = open_zoo(tmp_path, f"torchvision:{SMALL}.IMAGENET1K_V1")

    assert found.weights_path == tmp_path / "zoo" / f"torchvision_{SMALL}.IMAGENET1K_V1.safetensors"


def test_a_file_that_is_not_the_one_its_name_says_is_refused(tmp_path: Path, folder: Path) -> None:
    save(folder / "squeezenet1_1-00000000.pth", state())

    with pytest.raises(ZooError, match=r"has the SHA-256 [0-9a-f]{64}, not 00000000\.\.\."):
        open_zoo(tmp_path, f"torchvision:{SMALL}")

    assert not [path for path in (tmp_path / "torch").rglob("*") if path.is_file()]


def test_a_host_without_the_file_is_said_in_one_paragraph(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ZooError) as caught:
        open_zoo(tmp_path, f"torchvision:{SMALL}")

    assert "HTTP Error 404: File not found" in str(caught.value)


def test_a_host_out_of_reach_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    url = "http://127.0.0.1:9/squeezenet1_1-00000000.pth"
    monkeypatch.setattr(models.get_model_weights(SMALL).IMAGENET1K_V1.value, "url", url)

    with pytest.raises(ZooError) as caught:
        open_zoo(tmp_path, f"torchvision:{SMALL}")

    text = str(caught.value)
    name = f"torchvision:{SMALL}.IMAGENET1K_V1"
    assert text.startswith(f"Cannot fetch the weights '{name}': ")
    assert f"fetch {url} elsewhere and give it as {name}=FILE" in text
    assert f"random:torchvision:{SMALL} where only latency matters" in text


def test_a_file_that_is_torchvisions_own_is_recognized_by_its_hash(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(folder, monkeypatch, state())
    renamed = served.rename(tmp_path / "mine.pth")

    (found,) = open_zoo(tmp_path, f"torchvision:{SMALL}={renamed}")

    assert found.name == f"torchvision:{SMALL}.mine"
    assert (found.source, found.known_top1) == (f"torchvision {WEIGHTS}", 58.178)


def test_a_file_of_the_users_has_its_own_classes_and_no_published_quality(tmp_path: Path) -> None:
    path = save(tmp_path / "mine.pth", {"state_dict": state(classes=7), "epoch": 3})

    (found,) = open_zoo(tmp_path, f"torchvision:{SMALL}={path}")

    assert found.options == (("num_classes", 7),)
    assert (found.source, found.licence, found.known_top1) == (str(path), "unknown", None)
    assert found.preprocessing == Preprocessing(224, 0.875, "bilinear")
    with torch.inference_mode():
        assert found.load()(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_a_file_is_shown_pictures_as_the_weights_named_with_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = save(tmp_path / "a.pth", models.get_model("resnet18", weights=None).state_dict())

    found = model_from_file(path, "torchvision:resnet18.IMAGENET1K_V1")

    assert found.name == "torchvision:resnet18.a"
    assert found.preprocessing == Preprocessing(224, 0.875, "bilinear")
    assert found.known_top1 is None


def test_random_networks_are_the_same_every_time_and_prefixes_hold_for_what_follows(
    tmp_path: Path,
) -> None:
    zoo = open_zoo(tmp_path, f"random:torchvision:{SMALL},shufflenet_v2_x0_5,random:test_resnet")

    assert zoo.names == (
        f"torchvision:{SMALL}.random",
        "torchvision:shufflenet_v2_x0_5.random",
        "test_resnet.random",
    )
    first, again = (zoo.find(f"torchvision:{SMALL}").load().state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert zoo.models[0].weights_sha256 == ""


def test_a_network_that_cannot_be_made_of_shapes_alone_is_made_whole(tmp_path: Path) -> None:
    (found,) = open_zoo(tmp_path, "random:torchvision:regnet_y_400mf")

    assert (found.params, found.macs) == (4_344_144, 401_842_848)


def test_networks_that_torchvision_makes_otherwise_for_its_weights_are_made_so() -> None:
    with torch.device("meta"):
        google = torchvision_models.make("googlenet")
        large = torchvision_models.make(
            "vit_b_16", torchvision_models.describe("vit_b_16", "IMAGENET1K_SWAG_E2E_V1").options
        )

    assert google.transform_input
    assert not [name for name in google.state_dict() if name.startswith("aux")]
    assert large.image_size == 384


@pytest.mark.parametrize(
    ("name", "tag", "preprocessing"),
    [
        ("resnet50", "IMAGENET1K_V1", Preprocessing(224, 224 / 256, "bilinear")),
        ("resnet50", "IMAGENET1K_V2", Preprocessing(224, 224 / 232, "bilinear")),
        ("efficientnet_b0", None, Preprocessing(224, 224 / 256, "bicubic")),
        ("inception_v3", None, Preprocessing(299, 299 / 342, "bilinear")),
    ],
)
def test_pictures_are_prepared_as_torchvision_prepares_them(
    name: str, tag: str | None, preprocessing: Preprocessing
) -> None:
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (300, 401, 3), dtype=np.uint8))
    transforms = models.get_model_weights(name)[tag or "DEFAULT"].transforms()

    described = torchvision_models.describe(name, tag).preprocessing

    assert described == preprocessing
    assert torch.equal(described.transform(picture), transforms(picture))


def test_every_weights_transform_can_be_described() -> None:
    shorts = []
    for name in torchvision_models.names():
        for weights in models.get_model_weights(name):
            described = torchvision_models.describe(name, weights.name).preprocessing
            assert described is not None
            short = weights.transforms().resize_size[0]
            shorts.append(int(described.input_size / described.crop) == short)

    assert len(shorts) > 100
    assert all(shorts)


def test_the_share_that_is_kept_gives_the_very_size_to_resize_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transforms = models.get_model_weights(SMALL).DEFAULT.transforms()
    transforms.crop_size, transforms.resize_size = [163], [207]
    weights = models.get_model_weights(SMALL).DEFAULT
    monkeypatch.setattr(weights.value, "transforms", lambda: transforms)

    described = torchvision_models.describe(SMALL).preprocessing

    assert int(163 / (163 / 207)) == 206
    assert described is not None
    assert int(163 / described.crop) == 207


def test_weights_without_a_known_quality_say_so() -> None:
    assert torchvision_models.describe("vgg16", "IMAGENET1K_FEATURES").known_top1 is None


def test_weights_under_a_licence_of_their_own_say_so() -> None:
    licence = torchvision_models.describe("vit_b_16", "IMAGENET1K_SWAG_E2E_V1").licence

    assert licence.endswith("SWAG/blob/main/LICENSE")


@pytest.mark.parametrize(
    ("zoo", "words"),
    [
        (
            "torchvision:resnt18",
            "Unknown network of torchvision 'resnt18'. Did you mean 'resnet18'",
        ),
        ("torchvision:resnt18=a.pth", "Did you mean 'resnet18'"),
        ("random:torchvision:resnt18", "Did you mean 'resnet18'"),
        (
            "torchvision:resnet18.IMAGENET1K_V9",
            "Unknown weights of torchvision's resnet18 'IMAGENET1K_V9'. Did you mean "
            "'IMAGENET1K_V1'? Known: DEFAULT, IMAGENET1K_V1.",
        ),
        ("regnet_y_16gf", "torchvision:regnet_y_16gf"),
        ("torchvision:resnet18=nowhere.pth", "There is no weight file 'nowhere.pth'"),
    ],
)
def test_what_torchvision_does_not_have_is_answered_with_what_it_has(
    tmp_path: Path, zoo: str, words: str
) -> None:
    with pytest.raises((UsageError, ZooError)) as caught:
        open_zoo(tmp_path, zoo)

    assert words in str(caught.value)


def test_a_network_without_any_weights_says_what_else_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler.torchvision_models.models.get_model_weights", lambda _: ())

    with pytest.raises(ZooError, match=f"Give your own as torchvision:{SMALL}=FILE"):
        open_zoo(tmp_path, f"torchvision:{SMALL}")
    (found,) = open_zoo(tmp_path, f"random:torchvision:{SMALL}")
    assert found.preprocessing == Preprocessing(224)


def test_options_that_the_builder_does_not_know_are_refused() -> None:
    with pytest.raises(ZooError, match="torchvision cannot make 'squeezenet1_1' with"):
        torchvision_models.make(SMALL, (("nonsense", 3),))
    with pytest.raises(UnknownNameError):
        torchvision_models.make("nonsense")


def test_weights_that_do_not_fit_name_the_first_keys(tmp_path: Path) -> None:
    tensors = state()
    del tensors["features.0.bias"]
    path = save(tmp_path / "a.pth", tensors)

    with pytest.raises(ZooError, match=r"1 missing \(features\.0\.bias\)"):
        model_from_file(path, f"torchvision:{SMALL}")
