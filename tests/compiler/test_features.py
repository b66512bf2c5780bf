"""Features: what hooks on the donor see, whatever its layout, in one run, resumed anywhere."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from backends.model import TensorSpec
from compiler import features
from compiler.cache import Cache
from compiler.dissection import Dissection, dissect
from compiler.donors import Donors
from compiler.features import (
    BoundaryTaps,
    ZooFeatures,
    donor_nodes,
    input_sizes,
    on_device,
    parse_device,
    pooled,
    zoo_features,
)
from compiler.images import ImageSet, load_images
from compiler.progress import Silent
from compiler.similarity_table import ModelNodes
from compiler.zoo import Zoo
from targets.errors import DataError, TargetUnavailableError, UnknownNameError, UsageError, ZooError

CPU = torch.device("cpu")
SIZE = 32
SIZES = {"test_efficientnet": SIZE, "test_resnet.random": SIZE}


class Recorder:
    """A progress that keeps what it is told, and may interrupt the work."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.told: list[str | int] = []
        self.stop_at = stop_at

    def start(self, phase: str, total: int | None) -> None:
        self.told.append(f"{phase}: {total}")

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        if done == self.stop_at:
            raise KeyboardInterrupt
        self.told.append(done)

    def finish(self, summary: str = "") -> None:
        self.told.append(summary)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Seventy tiny pictures: three batches, the last of six."""
    folder = tmp_path_factory.mktemp("many")
    chance = np.random.default_rng(0)
    for i in range(70):
        pixels = chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((SIZE, SIZE)).save(folder / f"{i:02}.png")
    return load_images(folder)


def arrays(found: ZooFeatures) -> list[np.ndarray]:
    return [stored[0 : len(stored)] for stored in found.boundaries]


def spec(*shape: int, layout: str) -> TensorSpec:
    return TensorSpec("c", shape, "float32", layout)


def test_every_boundary_is_what_a_hook_on_the_donor_sees(
    tiny_zoo: Zoo, many: ImageSet, tmp_path: Path
) -> None:
    donors = Donors(tiny_zoo)

    found = zoo_features(donors, many, Cache(tmp_path), Silent(), SIZES)

    for donor in found.donors:
        name = donor.nodes.name
        seen = hooked(donors.module(name), donor.nodes.nodes, pixels(donors, name, many))
        for stored, expected in zip(donor.boundaries[1:], seen, strict=True):
            assert stored.shape == (70, expected.shape[1])
            assert np.allclose(stored[0:70], expected.mean((2, 3)), atol=1e-5)
    assert found.images == 70


def hooked(model: nn.Module, names: tuple[str, ...], batch: torch.Tensor) -> list[torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: seen.__setitem__(name, output)
        )
        for name in names
    ]
    with torch.no_grad():
        model(batch)
    for hook in hooks:
        hook.remove()
    return [seen[name] for name in names]


def pixels(donors: Donors, name: str, images: ImageSet) -> torch.Tensor:
    preprocessing = donors.preprocessing(name, SIZE)
    return torch.stack([preprocessing.transform(images.load(i)) for i in range(len(images))])


def test_names_say_the_donor_and_the_node(
    tiny_donors: Donors, many: ImageSet, tmp_path: Path
) -> None:
    found = zoo_features(tiny_donors, many.subset(range(2)), Cache(tmp_path), Silent(), SIZES)

    assert found.names[:3] == (
        "test_efficientnet.random/stem",
        "test_efficientnet.random/blocks.0.0",
        "test_efficientnet.random/blocks.1.0",
    )
    assert found.names[-1] == "test_resnet.random/layer4.0"
    assert len(found.names) == len(found.boundaries)


def test_a_second_run_reads_what_the_first_has_written(
    tiny_donors: Donors, many: ImageSet, tmp_path: Path
) -> None:
    first, second = Recorder(), Recorder()
    made = zoo_features(tiny_donors, many, Cache(tmp_path), first, SIZES)

    again = zoo_features(tiny_donors, many, Cache(tmp_path), second, SIZES)

    assert first.told[:5] == [
        "features of test_efficientnet.random at 32 px: 70",
        0,
        32,
        64,
        "features of test_efficientnet.random at 6 boundaries",
    ]
    assert second.told == []
    assert again == made


def test_an_interrupted_run_goes_on_at_its_batch(
    tiny_donors: Donors, many: ImageSet, tmp_path: Path
) -> None:
    whole = zoo_features(tiny_donors, many, Cache(tmp_path / "whole"), Silent(), SIZES)
    cache, rest = Cache(tmp_path / "parts"), Recorder()
    with pytest.raises(KeyboardInterrupt):
        zoo_features(tiny_donors, many, cache, Recorder(stop_at=64), SIZES)

    resumed = zoo_features(tiny_donors, many, cache, rest, SIZES)

    assert rest.told[:3] == [
        "features of test_efficientnet.random at 32 px: 70",
        64,
        "features of test_efficientnet.random at 6 boundaries",
    ]
    pairs = zip(arrays(whole), arrays(resumed), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_other_images_and_sizes_have_features_of_their_own(
    tiny_donors: Donors, many: ImageSet, tmp_path: Path
) -> None:
    cache, told = Cache(tmp_path), Recorder()
    few = many.subset(range(3))
    zoo_features(tiny_donors, few, cache, Silent(), SIZES)

    zoo_features(tiny_donors, many.subset(range(1, 4)), cache, told, SIZES)
    zoo_features(tiny_donors, few, cache, told, SIZES | {"test_resnet": 64})

    assert [text for text in told.told if isinstance(text, str) and text.endswith(": 3")] == [
        "features of test_efficientnet.random at 32 px: 3",
        "features of test_resnet.random at 32 px: 3",
        "features of test_resnet.random at 64 px: 3",
    ]


def test_a_donor_runs_at_its_own_size_where_none_is_asked_for(tiny_donors: Donors) -> None:
    assert input_sizes(tiny_donors) == {"test_efficientnet.random": 160, "test_resnet.random": 160}
    assert input_sizes(tiny_donors, {"test_resnet": 64}) == {
        "test_efficientnet.random": 160,
        "test_resnet.random": 64,
    }
    with pytest.raises(UnknownNameError, match=r"Did you mean 'test_resnet\.random'"):
        input_sizes(tiny_donors, {"test_resne": 64})


def test_nodes_are_counted_with_their_parameters(toys: tuple[Dissection, Dissection]) -> None:
    # A 3x3 convolution from 3 or 6 to 6, to 12 and from 12 to 12 channels, with batch-norm.
    assert donor_nodes(toys[0]) == ModelNodes(
        "narrow",
        ("blocks.0", "blocks.1", "blocks.2", "blocks.3"),
        (9 * 18 + 12, 9 * 36 + 12, 9 * 72 + 24, 9 * 144 + 24),
    )


def test_the_first_boundary_of_a_donor_without_stem_is_its_input(
    toys: tuple[Dissection, Dissection],
) -> None:
    batch = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    found = BoundaryTaps(toys[0], CPU)(batch)

    assert [rows.shape for rows in found] == [(3, 3), (3, 6), (3, 6), (3, 12), (3, 12)]
    assert np.allclose(found[0], batch.mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "options", "size", "widths"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 2}, 32, [192] * 3),
        (
            "swin_tiny_patch4_window7_224",
            {"depths": (1, 1), "img_size": 56},
            56,
            [96, 96, 192, 192],
        ),
    ],
)
def test_tokens_are_averaged_over_all_tokens_and_maps_over_their_grid(
    name: str, options: dict[str, object], size: int, widths: list[int]
) -> None:
    model = timm.create_model(name, pretrained=False, **options).eval()
    dissection = dissect(model, size, name)
    batch = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))

    found = BoundaryTaps(dissection, CPU)(batch)

    (seen,) = hooked(model, (dissection.nodes[-1].name,), batch)
    assert [rows.shape[1] for rows in found] == widths
    assert np.allclose(found[-1], seen.flatten(1, -2).mean(1), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "layout", "axes"),
    [
        ((1, 5, 4, 4), "NCHW", (2, 3)),
        ((1, 4, 4, 5), "NHWC", (1, 2)),
        ((1, 7, 5), "NLC", (1,)),
        ((1, 5), "NC", ()),
        ((1, 2, 9, 5), "????", (1, 2)),
    ],
)
def test_pooling_follows_the_layout(
    shape: tuple[int, ...], layout: str, axes: tuple[int, ...]
) -> None:
    activation = torch.rand(3, *shape[1:], generator=torch.Generator().manual_seed(0))

    found = pooled(activation, spec(*shape, layout=layout), 3)

    assert torch.allclose(found, activation.mean(axes) if axes else activation)


@pytest.mark.parametrize("images", [1, 3])
def test_windows_that_multiply_the_batch_are_averaged_for_each_image(images: int) -> None:
    of_each = torch.arange(images).float()
    windows = of_each.repeat_interleave(4)[:, None, None].expand(4 * images, 6, 5)
    batch_second = of_each[None, :, None].expand(6, images, 5)

    found = pooled(windows, spec(4, 6, 5, layout="NLC"), images)
    other = pooled(batch_second, spec(6, 1, 5, layout="NLC"), images)

    assert torch.equal(found, of_each[:, None].expand(images, 5))
    assert torch.equal(other, found)


def test_a_donor_that_computes_no_numbers_is_named(toys: tuple[Dissection, Dissection]) -> None:
    batch = torch.full((2, 3, 16, 16), torch.nan)

    with pytest.raises(ZooError, match="narrow computes numbers that are not finite at 'input'"):
        BoundaryTaps(toys[0], CPU)(batch)


def test_a_copy_for_another_device_leaves_the_donor_where_it_is() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 3, 1)) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x) * torch.tensor(2.0) + torch.arange(8, device=x.device)
                x = x + torch.arange(8).to(x.device, torch.float32)
            return x.mean((2, 3))

    model = Positions().eval()
    dissection = dissect(model, 8)
    block = dissection.module(dissection.cuts[0], dissection.cuts[-1])

    moved = on_device(block, torch.device("meta"))

    assert moved(torch.empty(2, 3, 8, 8, device="meta")).device.type == "meta"
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert on_device(block, CPU) is block


def test_a_gpu_is_told_not_to_round_and_told_back_again() -> None:
    before = torch.backends.cudnn.allow_tf32

    with features._whole_float32(torch.device("cuda")):
        inside = torch.backends.cudnn.allow_tf32

    assert (inside, torch.backends.cudnn.allow_tf32) == (False, before)


@pytest.mark.cuda
def test_a_gpu_finds_the_same_features(toys: tuple[Dissection, Dissection]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    batch = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    found = BoundaryTaps(toys[0], parse_device("cuda"))(batch)

    expected = BoundaryTaps(toys[0], CPU)(batch)
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "cuda:-1", ""])
def test_devices_that_are_none_are_said(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not known\. Use cpu, cuda or cuda:N"):
        parse_device(text)


def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(TargetUnavailableError, match="Donors cannot run on 'cuda:99': torch sees"):
        parse_device("cuda:99")
    assert parse_device("cpu") == CPU


def test_no_images_are_refused(tiny_donors: Donors, many: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Features of no images"):
        zoo_features(tiny_donors, many.subset([]), Cache(tmp_path), Silent())
