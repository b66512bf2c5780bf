"""Zoos: every way to name a network, and a sentence for every way to get it wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from compiler.demo_zoo import DEMO_DONORS
from compiler.images import ImageSet, load_images
from compiler.preprocessing import Preprocessing
from compiler.zoo import Zoo, ZooModel, model_from_file, open_zoo
from compiler.zoo_metadata import Description, describe
from targets.errors import UnknownNameError, UsageError, ZooError

SHARED_ZOO = Path(__file__).parents[2].parent / "shared" / "zoo"
TINY = Preprocessing(64, 0.9, "bilinear", (0.5,) * 3, (0.5,) * 3)


def state(architecture: str = "test_resnet", seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    tensors = timm.create_model(architecture, pretrained=False).state_dict()
    return {key: tensor.clone() for key, tensor in tensors.items()}


def save(path: Path, tensors: dict[str, torch.Tensor], **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata or None)
    return path


def error(home: Path, zoo: str | Path) -> str:
    with pytest.raises((ZooError, UsageError)) as caught:
        open_zoo(home, zoo)
    return str(caught.value)


def model(name: str) -> ZooModel:
    return ZooModel(name, name, "", "", None, (), TINY, 1, 1, None, "")


def test_a_folder_of_safetensors_is_a_zoo(tmp_path: Path) -> None:
    described = Description("test_resnet", TINY, (), "MIT", "my desk", 12.5).to_metadata()
    save(tmp_path / "zoo" / "mine.safetensors", state(), **described)
    save(tmp_path / "zoo" / "test_efficientnet.own.safetensors", state("test_efficientnet"))

    zoo = open_zoo(tmp_path / "home", tmp_path / "zoo")

    assert zoo.names == ("test_resnet.mine", "test_efficientnet.own")
    mine, own = zoo
    assert (mine.preprocessing, mine.licence, mine.source) == (TINY, "MIT", "my desk")
    assert (mine.known_top1, mine.params) == (
        12.5,
        sum(p.numel() for p in mine.load().parameters()),
    )
    assert own.preprocessing.input_size == 160  # timm's own
    assert own.licence == "unknown"


def test_a_loaded_network_has_the_files_weights_in_float32_and_eval_mode(tmp_path: Path) -> None:
    given = state(seed=3)
    halves = {k: t.half() if t.dim() > 1 else t for k, t in given.items()}
    path = save(tmp_path / "test_resnet.half.safetensors", halves)

    loaded = model_from_file(path).load()

    assert not loaded.training
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    key = next(k for k, t in halves.items() if t.dtype == torch.float16)
    assert torch.equal(loaded.state_dict()[key], halves[key].float())


def test_loading_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "test_resnet.safetensors", state())
    before = torch.random.get_rng_state()

    model_from_file(path).load()

    assert torch.equal(torch.random.get_rng_state(), before)


def test_one_file_may_be_named_with_its_architecture(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(state(), path)  # noqa: TID251 - what users have lying about

    zoo = open_zoo(tmp_path, f"test_resnet={path}")

    assert zoo.names == ("test_resnet.checkpoint",)
    assert zoo.find("test_resnet").weights_path == path
    zoo.find("test_resnet").load()


def test_one_safetensors_file_alone_is_a_zoo(tmp_path: Path) -> None:
    path = save(tmp_path / "a,b" / "test_resnet.safetensors", state())

    assert open_zoo(tmp_path, str(path)).names == ("test_resnet",)
    assert open_zoo(tmp_path, str(path.parent)).names == ("test_resnet",)


def test_the_same_weights_have_the_same_hash_in_every_kind_of_file(tmp_path: Path) -> None:
    pickled = tmp_path / "test_resnet.pth"
    torch.save(state(), pickled)  # noqa: TID251 - what users have lying about
    packed = save(tmp_path / "test_resnet.safetensors", state(), note="anything")

    assert model_from_file(pickled).weights_sha256 == model_from_file(packed).weights_sha256


def test_random_weights_are_the_same_every_time(tmp_path: Path) -> None:
    zoo = open_zoo(tmp_path, "random:test_resnet,test_efficientnet")
    first, again = (zoo.find("test_resnet").load().state_dict() for _ in range(2))

    assert zoo.names == ("test_resnet.random", "test_efficientnet.random")
    assert zoo.models[0].weights_path is None
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_lists_combine_zoos_and_drop_repetitions(tmp_path: Path) -> None:
    save(tmp_path / "zoo" / "test_resnet.a.safetensors", state())

    zoo = open_zoo(tmp_path, f"{tmp_path / 'zoo'}, random:test_vit,{tmp_path / 'zoo'}")

    assert zoo.names == ("test_resnet.a", "test_vit.random")


def test_a_list_may_be_longer_than_a_path(tmp_path: Path) -> None:
    zoo = open_zoo(tmp_path, ",".join(["random:test_resnet"] * 200))

    assert zoo.names == ("test_resnet.random",)


def test_a_network_that_takes_no_square_picture_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = timm.create_model("test_resnet", pretrained=False)
    network.pretrained_cfg = {"input_size": (3, 128, 1024)}
    monkeypatch.setattr("compiler.architectures.timm.create_model", lambda *_, **__: network)

    assert "An input of 128x1024 pixels: it must be square" in error(tmp_path, "random:test_resnet")


def test_two_networks_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder, seed in (("x", 0), ("y", 1)):
        save(tmp_path / folder / "test_resnet.a.safetensors", state(seed=seed))

    text = error(tmp_path, f"{tmp_path / 'x'},{tmp_path / 'y'}")

    assert "Two networks are called 'test_resnet.a'" in text and "Rename one file." in text


def test_macs_and_parameters_are_counted_without_the_weights(tmp_path: Path) -> None:
    options = {"num_classes": 10}
    network = timm.create_model("test_resnet", pretrained=False, **options)
    tensors = {k: t.clone() for k, t in network.state_dict().items()}
    metadata = Description("test_resnet", TINY, tuple(options.items())).to_metadata()

    found = model_from_file(save(tmp_path / "a.safetensors", tensors, **metadata))

    sizes: list[int] = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(
                lambda m, _, out: sizes.append(out.numel() // out.shape[0] * m.weight[0].numel())
            )
    network.eval()(torch.zeros(1, 3, 64, 64))
    assert found.macs == sum(sizes) > 0
    assert found.params == sum(p.numel() for p in network.parameters())
    assert found.options == (("num_classes", 10),)


def test_macs_are_unknown_where_the_network_cannot_take_the_size(tmp_path: Path) -> None:
    metadata = Description("test_maxvit", TINY).to_metadata()  # windows of 5 do not tile 64 pixels

    found = model_from_file(save(tmp_path / "a.safetensors", state("test_maxvit"), **metadata))

    assert found.macs is None


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".ckpt", ".pth.tar"])
def test_a_fine_tuned_checkpoint_has_its_own_number_of_classes(tmp_path: Path, suffix: str) -> None:
    network = timm.create_model("test_vit", pretrained=False, num_classes=7)
    tensors = {f"model.{k}": t.clone() for k, t in network.state_dict().items()}
    path = tmp_path / f"flowers{suffix}"
    if suffix == ".safetensors":
        save(path, tensors)
    else:
        torch.save({"state_dict": tensors, "epoch": 3}, path)  # noqa: TID251 - what tools write

    (found,) = open_zoo(tmp_path, f"test_vit={path}")

    assert (found.name, found.options) == ("test_vit.flowers", (("num_classes", 7),))
    assert (found.preprocessing.input_size, found.known_top1) == (160, None)
    assert found.params == sum(p.numel() for p in network.parameters())
    picture = torch.rand(1, 3, 160, 160)
    with torch.inference_mode():
        assert torch.equal(found.load()(picture), network.eval()(picture))


def test_a_checkpoint_without_a_classifier_answers_with_its_features(tmp_path: Path) -> None:
    tensors = {k: t for k, t in state().items() if not k.startswith("fc.")}

    found = model_from_file(save(tmp_path / "test_resnet.bare.safetensors", tensors))

    assert found.options == (("num_classes", 0),)
    with torch.inference_mode():
        assert found.load()(torch.rand(1, 3, 64, 64)).shape == (1, 96)


def test_a_number_of_classes_that_the_file_says_is_believed(tmp_path: Path) -> None:
    metadata = Description("test_resnet", options=(("num_classes", 10),)).to_metadata()
    path = save(tmp_path / "a.safetensors", state(), **metadata)

    with pytest.raises(ZooError, match=r"fc\.weight is \(1000, 96\) instead of \(10, 96\)"):
        model_from_file(path)


def test_the_authors_prefix_of_timm_may_stand_before_a_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", state())

    assert open_zoo(tmp_path, f"timm:test_resnet={path}").names == ("test_resnet.a",)


def test_find_takes_the_full_name_or_an_unambiguous_one_without_tag() -> None:
    zoo = Zoo((model("a.x"), model("b.x"), model("b.y"), model("c"), model("c.z")))

    assert zoo.find("a").name == "a.x"
    assert zoo.find("b.y").name == "b.y"
    assert zoo.find("c").name == "c"
    assert len(zoo) == 5
    with pytest.raises(UsageError, match=r"'b' could be 'b\.x' and 'b\.y'\. Use the full name\."):
        zoo.find("b")


def test_a_tag_begins_behind_the_prefix_of_a_source() -> None:
    zoo = Zoo((model("torchvision:a.x"), model("my.nets:make"), model("your.nets:make.x")))

    assert zoo.find("torchvision:a").name == "torchvision:a.x"
    assert zoo.find("my.nets:make").name == "my.nets:make"
    assert zoo.find("your.nets:make").name == "your.nets:make.x"
    with pytest.raises(UnknownNameError, match=r"Unknown donor 'my'\."):
        zoo.find("my")


def test_find_suggests_the_nearest_name() -> None:
    zoo = Zoo((model("resnet18.x"),))

    with pytest.raises(UnknownNameError, match=r"Unknown donor 'resnt18'.*resnet18\.x"):
        zoo.find("resnt18")


def test_weights_that_do_not_fit_are_refused_when_the_zoo_is_opened(tmp_path: Path) -> None:
    tensors = state()
    tensors["fc.weight"] = torch.zeros(10, 3)
    save(tmp_path / "zoo" / "test_resnet.a.safetensors", tensors)

    text = error(tmp_path, tmp_path / "zoo")

    assert "fc.weight is (10, 3) instead of (1000," in text
    assert "test_resnet.a.safetensors" in text


def test_weights_that_changed_after_opening_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "test_resnet.safetensors", state(seed=0))
    found = model_from_file(path)
    save(path, state(seed=1))

    with pytest.raises(ZooError, match="have changed since the zoo was opened"):
        found.load()


def test_weights_that_went_away_are_missed(tmp_path: Path) -> None:
    path = save(tmp_path / "test_resnet.safetensors", state())
    found = model_from_file(path)
    path.unlink()

    with pytest.raises(ZooError, match="There is no weight file"):
        found.load()


@pytest.mark.parametrize(
    ("zoo", "words"),
    [
        ("./nowhere", "There is no folder or file './nowhere'. Give a folder of .safetensors"),
        ("gone.pth", "There is no folder or file 'gone.pth'."),
        ("demo,,demo", "has an empty part"),
        ("resnt18", "Did you mean 'resnet18'"),
        ("demoo", "Did you mean 'demo'?"),
        ("random:resnt18", "Did you mean 'resnet18'"),
        ("resnt18=a.pth", "Did you mean 'resnet18'"),
        ("resnet18=nowhere.pth", "There is no weight file 'nowhere.pth'"),
        ("ftp:resnet18.x", "There is no folder or file 'ftp:resnet18.x'. Give a folder of"),
        ("timm:resnet18.nobody", "Unknown pretrained network of timm 'resnet18.nobody'."),
    ],
)
def test_a_zoo_that_is_not_there_is_answered_with_what_there_is(
    tmp_path: Path, zoo: str, words: str
) -> None:
    assert words in error(tmp_path, zoo)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").touch()

    assert error(tmp_path, tmp_path).startswith(f"No .safetensors files in '{tmp_path}'.")


def test_a_file_of_an_unknown_architecture_suggests_one(tmp_path: Path) -> None:
    save(tmp_path / "zoo" / "resnt18.safetensors", state())

    text = error(tmp_path, tmp_path / "zoo")

    assert "has no architecture 'resnt18', but resnet18" in text


def test_an_unheard_of_architecture_gets_no_suggestion(tmp_path: Path) -> None:
    save(tmp_path / "zoo" / "zzzzzzzz.safetensors", state())

    assert "has no architecture 'zzzzzzzz'. Name the file" in error(tmp_path, tmp_path / "zoo")


def test_options_timm_does_not_know_are_refused(tmp_path: Path) -> None:
    metadata = Description("test_resnet", options=(("nonsense", 3),)).to_metadata()
    save(tmp_path / "zoo" / "a.safetensors", state(), **metadata)

    text = error(tmp_path, tmp_path / "zoo")

    assert "timm cannot make 'test_resnet' with {'nonsense': 3}" in text


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"cfg": "{"}, "The metadata 'cfg' of"),
        ({"cfg": '{"input_size": [3, 8, 9]}'}, "8x9 pixels: it must be square"),
        ({"options": "[1]"}, "The metadata 'options' of"),
        ({"known_top1": "high"}, "The metadata 'known_top1' of"),
    ],
)
def test_metadata_that_cannot_be_read_is_refused(metadata: dict[str, str], words: str) -> None:
    with pytest.raises(ZooError) as caught:
        describe(Path("a.safetensors"), metadata)

    assert words in str(caught.value)
    assert "Correct it where the file is written." in str(caught.value)


@pytest.mark.parametrize(
    "description",
    [
        Description("resnet18", source="s"),
        Description("torchvision:resnet18", source="s"),
        Description(
            "a", TINY, (("pad_type", "same"), ("bn_eps", 1e-3), ("n", 2)), "MIT", "s", 71.0
        ),
    ],
)
def test_a_description_survives_the_metadata(description: Description) -> None:
    assert describe(Path("x.safetensors"), description.to_metadata()) == description


def test_known_conversions_are_padded_as_tensorflow_pads() -> None:
    described = describe(Path("mobilenetv2_100.keras_in1k.safetensors"), {})

    assert described.options == (("pad_type", "same"), ("bn_eps", 1e-3))


def test_what_a_file_says_goes_before_what_is_known_of_it() -> None:
    metadata = {"options": json.dumps({"bn_eps": 0.1}), "license": "MIT"}

    described = describe(Path("mobilenetv2_100.keras_in1k.safetensors"), metadata)

    assert described.options == (("bn_eps", 0.1),)
    assert described.licence == "MIT"


def hits(donor: ZooModel, images: ImageSet) -> list[bool]:
    network = donor.load()
    labels = images.labels or ()
    found: list[bool] = []
    with torch.inference_mode():
        for start in range(0, len(images), 10):
            batch = range(start, start + 10)
            views = torch.stack([donor.preprocessing.transform(images.load(i)) for i in batch])
            top = network(views).argmax(1).tolist()
            found += [guess == labels[i] for guess, i in zip(top, batch, strict=True)]
    return found


@pytest.mark.weights
@pytest.mark.parametrize(
    ("name", "of_50", "of_20"),
    [
        ("tf_efficientnet_lite0", 40, 18),
        ("tf_efficientnet_lite1", 39, 18),
        ("tf_efficientnet_lite2", 38, 18),
        ("mobilenetv2_100", 35, 18),
    ],
)
def test_the_demo_donors_recognize_the_demo_photographs(
    demo_home: Path, name: str, of_50: int, of_20: int
) -> None:
    images = load_images(demo_home / "images" / "demo")
    donor = open_zoo(demo_home).find(name)

    right = hits(donor, images)

    first = [hit for hit, path in zip(right, images.paths, strict=True) if path.startswith("rvb")]
    assert (len(images), len(first)) == (70, 50)
    # One either way: a picture on the edge may fall to the other side with another torch.
    assert abs(sum(first) - of_50) <= 1
    assert abs(sum(right) - sum(first) - of_20) <= 1


@pytest.mark.weights
def test_the_demo_index_says_what_the_donors_cost(demo_home: Path) -> None:
    zoo = open_zoo(demo_home, "demo")

    assert zoo.names == tuple(donor.name for donor in DEMO_DONORS)
    for donor in zoo:
        assert donor.weights_path is not None
        counted = model_from_file(donor.weights_path)
        assert replace(counted, source="") == replace(donor, source="")


@pytest.mark.weights
def test_a_demo_donor_is_found_by_name_without_opening_the_others(demo_home: Path) -> None:
    zoo = open_zoo(demo_home, "tf_efficientnet_lite0,mobilenetv2_100.tv_in1k")

    assert zoo.names == ("tf_efficientnet_lite0.in1k", "mobilenetv2_100.tv_in1k")


@pytest.mark.weights
@pytest.mark.skipif(not SHARED_ZOO.is_dir(), reason=f"there is no folder {SHARED_ZOO}")
@pytest.mark.parametrize(
    ("name", "params", "correct"),
    [
        ("mobilenetv1_100", 4_231_976, 16),
        ("mobilenetv2_100.keras_in1k", 3_504_872, 18),
        ("tf_efficientnet_lite3", 8_197_096, 17),
    ],
)
def test_the_shared_zoo_loads_and_recognizes_the_demo_photographs(
    demo_home: Path, name: str, params: int, correct: int
) -> None:
    images = load_images(demo_home / "images" / "demo")
    twenty = [i for i, path in enumerate(images.paths) if path.startswith("foolbox")]
    donor = open_zoo(demo_home, SHARED_ZOO).find(name)

    right = hits(donor, images.subset(twenty))

    assert donor.params == params
    assert abs(sum(right) - correct) <= 1
