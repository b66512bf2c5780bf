"""MobileNeXt: the counts and the blocks of the released network, and a donor like any other."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backends.model import ExportedModel, TensorSpec
from backends.registry import get_backend
from compiler.dissection import Dissection, dissect
from compiler.export import export
from compiler.models import MobileNeXt, SandglassBlock
from compiler.models.mobilenext import checkpoint_filter_fn
from compiler.zoo import open_zoo
from targets.errors import UsageError, ZooError
from targets.target import Target

COUNTS = {
    "mobilenext_035": (1_913_976, 75_141_032),
    "mobilenext_050": (2_152_304, 103_256_448),
    "mobilenext_075": (2_766_168, 207_926_720),
    "mobilenext_100": (3_535_416, 311_342_592),
    "mobilenext_140": (6_126_168, 588_319_256),
}
SIZE = 64
CLASSES = 7


def create(name: str = "mobilenext_100", seed: int = 0, **options: object) -> MobileNeXt:
    """With statistics and scales of its own, so that no layer is the identity by chance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(name, **options)
        shake(model)
    assert isinstance(model, MobileNeXt)
    return model.eval()


def shake(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(part.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.normal_(part.weight, 1, 0.1)


@cache
def small(identity_div: int = 1) -> MobileNeXt:
    return create("mobilenext_035", num_classes=CLASSES, identity_div=identity_div)


@cache
def dissected(identity_div: int = 1) -> Dissection:
    return dissect(small(identity_div), SIZE, "mobilenext_035")


def pixels(batch: int = 2, size: int = SIZE) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def units(model: nn.Module) -> list[SandglassBlock]:
    return [part for part in model.modules() if isinstance(part, SandglassBlock)]


class Released(nn.Module):
    """The released network's modules, written here anew from its list of layers, width 0.35."""

    KINDS = "A D CDD CDD BDDD CDDD BDD D"
    WIDTHS = (32, 48, 64, 104, 136, 200, 336, 1280)
    STRIDES = (2, 1, 2, 2, 1, 2, 1, 1)
    # The waists of the blocks whose sixth of the wider side is not a multiple of 16.
    WAISTS = (8, 16, 16, 16, 16, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 64, 56, 56, 208)

    def __init__(self, identity_div: int = 1) -> None:
        super().__init__()
        self.identity_div = identity_div
        self.shortcuts = [False]
        layers: list[nn.Module] = [nn.Sequential(*norm(nn.Conv2d(3, 16, 3, 2, 1, bias=False)))]
        layers[0].append(nn.ReLU6())  # type: ignore[operator]
        inputs, waists = 16, iter(self.WAISTS)
        for kinds, width, stride in zip(self.KINDS.split(), self.WIDTHS, self.STRIDES, strict=True):
            for i, kind in enumerate(kinds):
                block = nn.Module()
                block.conv = self.layers(kind, inputs, next(waists), width, 1 if i else stride)
                layers.append(block)
                self.shortcuts.append(kind == "D" and len(kinds) > 1)
                inputs = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, CLASSES))

    @staticmethod
    def layers(kind: str, inputs: int, waist: int, width: int, stride: int) -> nn.Sequential:
        def depthwise(channels: int, stride: int) -> list[nn.Module]:
            return norm(nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False))

        middle = [
            *norm(nn.Conv2d(inputs, waist, 1, bias=False)),
            *norm(nn.Conv2d(waist, width, 1, bias=False)),
            nn.ReLU6(),
        ]
        first = [*depthwise(inputs, 1), nn.ReLU6()] if kind in "AD" else []
        return nn.Sequential(*first, *middle, *(depthwise(width, stride) if kind != "B" else []))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features[0](x)
        for block, shortcut in zip(self.features[1:], self.shortcuts[1:], strict=True):
            y = block.conv(x)
            if shortcut:
                part = x.shape[1] // self.identity_div
                y[:, :part] += x[:, :part]
            x = y
        answer: Tensor = self.classifier(x.mean((2, 3)))
        return answer


def norm(conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels)]


def released(identity_div: int = 1) -> Released:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Released(identity_div)
        shake(model)
    return model.eval()


def test_every_width_has_exactly_the_parameters_and_macs_of_the_released_network(
    tmp_path: Path,
) -> None:
    zoo = open_zoo(tmp_path, ",".join(f"random:{name}" for name in COUNTS))

    assert {m.architecture: (m.params, m.macs) for m in zoo} == COUNTS


def test_its_dissection_counts_the_same() -> None:
    with torch.device("meta"):
        model = timm.create_model("mobilenext_100").eval()

    whole = dissect(model, 224, "mobilenext_100")

    found = whole.block(whole.cuts[0], whole.cuts[-1])
    assert (found.params, found.macs) == (3_535_416, 311_342_592)


def test_it_is_not_the_common_version_whose_blocks_are_all_alike() -> None:
    with torch.device("meta"):
        model = timm.create_model("mobilenext_100")

    assert sum(parameter.numel() for parameter in model.parameters()) != 3_305_720


def test_stages_have_their_types_of_block_and_only_repeated_blocks_a_shortcut() -> None:
    with torch.device("meta"):
        model = timm.create_model("mobilenext_100")

    kinds = ["".join(block.kind for block in stage) for stage in model.blocks]
    shortcuts = [[block.identity_channels for block in stage] for stage in model.blocks]

    assert kinds == ["A", "D", "CDD", "CDD", "BDDD", "CDDD", "BDD", "D"]
    assert shortcuts == [
        [0],
        [0],
        [0, 192, 192],
        [0, 288, 288],
        [0, 384, 384, 384],
        [0, 576, 576, 576],
        [0, 960, 960],
        [0],
    ]


@pytest.mark.parametrize(
    ("width", "waists"),
    [
        ("100", [16, 32, *[32] * 3, *[48] * 3, *[64] * 4, *[96] * 4, *[160] * 3, 208]),
        ("050", [8, 16, *[16] * 3, 32, 24, 24, *[32] * 4, *[48] * 4, *[80] * 3, 208]),
    ],
)
def test_waists_are_a_sixth_of_the_wider_side(width: str, waists: list[int]) -> None:
    with torch.device("meta"):
        model = timm.create_model(f"mobilenext_{width}")

    assert [block.conv.conv_reduce.out_channels for block in units(model)] == waists


@pytest.mark.parametrize(
    ("kind", "options", "layers"),
    [
        ("A", {"reduction": 2, "stride": 2}, "dw|6 reduce expand|6 dw2"),
        ("B", {}, "reduce expand|6"),
        ("C", {"stride": 2}, "reduce expand|6 dw2"),
        ("D", {"keep_spatial": True}, "dw|6 reduce expand|6 dw1"),
    ],
)
def test_a_block_has_the_layers_of_its_type(
    kind: str, options: dict[str, int], layers: str
) -> None:
    block = SandglassBlock(24, 48, **options)

    found = []
    for layer in block.conv:
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            found.append(f" dw{layer.stride[0]}")
        elif isinstance(layer, nn.Conv2d):
            found.append(" reduce" if layer.in_channels == 24 else " expand")
        elif isinstance(layer, nn.ReLU6):
            found.append("|6")
    assert block.kind == kind
    assert block.identity_channels == 0
    assert "".join(found).strip().replace("dw1|6", "dw|6") == layers


@torch.no_grad()
@pytest.mark.parametrize("identity_div", [1, 2, 3])
def test_a_shortcut_carries_the_first_channels_alone(identity_div: int) -> None:
    with torch.random.fork_rng(devices=[]):
        block = SandglassBlock(48, 48, identity_div=identity_div).eval()
    x = torch.randn(2, 48, 5, 5, generator=torch.Generator().manual_seed(0))
    before = x.clone()

    y = block(x)

    part = 48 // identity_div
    alone = block.conv(x)
    assert torch.equal(y[:, :part], alone[:, :part] + x[:, :part])
    assert torch.equal(y[:, part:], alone[:, part:])
    assert torch.equal(x, before)


@pytest.mark.parametrize("options", [{"stride": 3}, {"identity_div": 0}])
def test_a_block_that_cannot_be_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"stride 1 or 2 and an identity_div of at least 1, not"):
        SandglassBlock(8, 8, **options)


@torch.no_grad()
def test_features_and_logits_have_the_shapes_timm_promises() -> None:
    model = small()

    features = model.forward_features(pixels())

    assert features.shape == (2, 1280, 2, 2)
    assert model.num_features == model.head_hidden_size == 1280
    assert model.forward_head(features, pre_logits=True).shape == (2, 1280)
    assert torch.equal(model.forward_head(features), model(pixels()))
    assert model(pixels()).shape == (2, CLASSES)
    assert model(pixels(1, 96)).shape == (1, CLASSES)


@torch.no_grad()
def test_the_head_can_be_changed_or_left_out() -> None:
    model = create("mobilenext_035", num_classes=0, global_pool="", in_chans=1, drop_rate=0.0)

    bare = model(torch.zeros(1, 1, 64, 64))
    model.reset_classifier(3, "avg")

    assert bare.shape == (1, 1280, 2, 2)
    assert model(torch.zeros(1, 1, 64, 64)).shape == (1, 3)
    assert (model.num_classes, model.in_chans, model.drop_rate) == (3, 1, 0.0)
    assert isinstance(model.get_classifier(), nn.Linear)


@torch.no_grad()
def test_features_are_given_at_five_strides() -> None:
    with torch.random.fork_rng(devices=[]):
        model = timm.create_model("mobilenext_100", features_only=True).eval()

    found = model(torch.zeros(1, 3, 64, 64))

    assert [tuple(feature.shape) for feature in found] == [
        (1, 32, 32, 32),
        (1, 144, 16, 16),
        (1, 192, 8, 8),
        (1, 384, 4, 4),
        (1, 1280, 2, 2),
    ]
    assert model.feature_info.channels() == [32, 144, 192, 384, 1280]
    assert model.feature_info.reduction() == [2, 4, 8, 16, 32]


def test_timm_knows_the_widths_and_where_the_first_and_last_layers_are() -> None:
    model = small()

    config = model.pretrained_cfg

    assert timm.list_models("mobilenext_*") == sorted(COUNTS)
    assert timm.list_pretrained("mobilenext_*") == []
    assert isinstance(model.get_submodule(config["classifier"]), nn.Linear)
    assert isinstance(model.get_submodule(config["first_conv"]), nn.Conv2d)
    assert config["input_size"] == (3, 224, 224)
    assert config.get("url") is None


@pytest.mark.parametrize(("coarse", "groups"), [(False, 20), (True, 8)])
def test_parameters_train_in_groups_from_the_input_on(coarse: bool, groups: int) -> None:
    matched = small().group_matcher(coarse)

    found = timm.models.group_parameters(small(), matched)

    assert len(found) == groups + 2  # the stem, and the head
    small().set_grad_checkpointing(False)
    with pytest.raises(AssertionError, match="not supported"):
        small().set_grad_checkpointing()


def test_initial_weights_are_as_released() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model("mobilenext_100")

    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    assert float(weights["blocks.6.1.conv.conv_expand.weight"].std()) == pytest.approx(
        (2 / 960) ** 0.5, rel=0.02
    )
    assert float(weights["blocks.6.1.conv.conv_last.weight"].std()) == pytest.approx(
        (2 / (9 * 960)) ** 0.5, rel=0.05
    )
    assert float(weights["head.fc.weight"].std()) == pytest.approx(0.01, rel=0.02)
    assert not weights["head.fc.bias"].any()


@torch.no_grad()
@pytest.mark.parametrize("identity_div", [1, 2])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_released_checkpoint_is_renamed_and_computes_what_it_did(
    identity_div: int, prefix: str
) -> None:
    theirs = released(identity_div)
    state = {prefix + key: tensor for key, tensor in theirs.state_dict().items()}
    ours = create("mobilenext_035", num_classes=CLASSES, identity_div=identity_div)

    ours.load_state_dict(checkpoint_filter_fn(state, ours), strict=True)

    assert torch.allclose(ours(pixels()), theirs(pixels()), rtol=1e-5, atol=1e-6)


def test_layers_of_the_released_network_get_these_names() -> None:
    state = {
        "features.0.0.weight": torch.zeros(1),
        "features.0.1.running_mean": torch.zeros(1),
        "features.1.conv.8.weight": torch.zeros(1),
        "features.3.conv.1.bias": torch.zeros(1),
        "features.20.conv.9.num_batches_tracked": torch.zeros(1),
        "classifier.1.bias": torch.zeros(1),
    }

    assert list(checkpoint_filter_fn(state, small())) == [
        "conv_stem.weight",
        "bn1.running_mean",
        "blocks.0.0.conv.conv_last.weight",
        "blocks.2.0.conv.bn_reduce.bias",
        "blocks.7.0.conv.bn_last.num_batches_tracked",
        "head.fc.bias",
    ]


def test_a_checkpoint_in_its_own_names_is_left_alone() -> None:
    state = small().state_dict()

    found = checkpoint_filter_fn(state, small())

    assert list(found) == list(state)
    assert all(found[key] is tensor for key, tensor in state.items())


@torch.no_grad()
def test_the_zoo_reads_a_released_checkpoint_from_a_file(tmp_path: Path) -> None:
    theirs = released()
    theirs.classifier[1] = nn.Linear(1280, 1000)
    path = tmp_path / "model_best.pth"
    content = {f"module.{key}": tensor for key, tensor in theirs.state_dict().items()}
    torch.save({"state_dict": content}, path)  # noqa: TID251 - as their authors save it

    (model,) = open_zoo(tmp_path, f"mobilenext_035={path}")

    assert model.params == COUNTS["mobilenext_035"][0]
    assert torch.allclose(model.load()(pixels()), theirs(pixels()), rtol=1e-5, atol=1e-6)


def test_a_released_checkpoint_of_another_width_is_refused_by_its_first_keys(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.safetensors"
    save_file(released().state_dict(), path)

    with pytest.raises(ZooError, match=r"conv_stem\.weight is \(16, 3, 3, 3\) instead of \(32, 3"):
        open_zoo(tmp_path, f"mobilenext_100={path}")


def test_timm_itself_loads_a_released_checkpoint_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    theirs = released()
    theirs.classifier[1] = nn.Linear(1280, 1000)
    save_file(theirs.state_dict(), path)

    model = timm.create_model(
        "mobilenext_035", pretrained=True, pretrained_cfg_overlay={"file": str(path)}
    )

    assert torch.equal(model.conv_stem.weight, theirs.features[0][0].weight)
    assert torch.equal(model.head.fc.weight, theirs.classifier[1].weight)


def test_an_untrained_one_is_in_the_zoo_by_its_name(tmp_path: Path) -> None:
    (model,) = open_zoo(tmp_path, "random:mobilenext_100")

    assert (model.params, model.macs) == COUNTS["mobilenext_100"]
    assert model.preprocessing.input_size == 224
    assert isinstance(model.load(), MobileNeXt)


def test_its_nodes_are_the_twenty_blocks() -> None:
    nodes = dissected().nodes

    assert [node.name for node in nodes] == [
        "blocks.0.0",
        "blocks.1.0",
        *(f"blocks.2.{i}" for i in range(3)),
        *(f"blocks.3.{i}" for i in range(3)),
        *(f"blocks.4.{i}" for i in range(4)),
        *(f"blocks.5.{i}" for i in range(4)),
        *(f"blocks.6.{i}" for i in range(3)),
        "blocks.7.0",
    ]
    assert [cut.stride for cut in dissected().boundaries] == [
        2,
        *[4] * 2,
        *[8] * 3,
        *[16] * 7,
        *[32] * 8,
    ]


@torch.no_grad()
@pytest.mark.parametrize("identity_div", [1, 2])
def test_cutting_at_every_block_and_recomposing_changes_no_bit(identity_div: int) -> None:
    whole = dissected(identity_div)
    x = pixels()

    for start, end in pairwise((whole.cuts[0], *whole.boundaries, whole.cuts[-1])):
        x = whole.module(start, end)(x)

    assert torch.equal(x, small(identity_div)(pixels()))


@torch.no_grad()
def test_an_export_of_the_network_computes_the_same() -> None:
    x = pixels(1)

    exported = export(small(), TensorSpec("x", (1, 3, SIZE, SIZE)), "mobilenext_035")

    assert not {name for name in operators(exported) if "Scatter" in name}
    assert run(exported, x) == pytest.approx(small()(x).numpy(), rel=1e-4, abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("identity_div", [1, 2])
def test_an_export_of_a_shortcut_adds_and_scatters_nothing(identity_div: int) -> None:
    block = units(small(identity_div))[3]
    x = torch.randn(1, 64, 5, 5, generator=torch.Generator().manual_seed(0))

    exported = export(block, TensorSpec("x", (1, 64, 5, 5)), "block")

    beside = {"Split", "Concat"} if identity_div > 1 else set()
    assert operators(exported) == {"Conv", "Clip", "Add", *beside}
    assert run(exported, x) == pytest.approx(block(x).numpy(), rel=1e-4, abs=1e-5)


def operators(model: ExportedModel) -> set[str]:
    return {node.op_type for node in onnx.ModelProto.FromString(model.onnx).graph.node}


def run(model: ExportedModel, x: Tensor) -> np.ndarray:
    target = Target.parse("cpu:threads=1,spinning=off")
    with get_backend(target.backend).compile(model, target) as engine:
        (y,) = engine.run({"x": x.numpy()}).values()
    return y
