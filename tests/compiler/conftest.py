"""What the tests of the compiler share: the demo zoo, toys, tiny donors and noise pictures."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from compiler.architectures import outline
from compiler.candidates import Photographs
from compiler.dissection import Dissection, dissect
from compiler.donors import Donors
from compiler.fetch import fetch_demo, fetch_images
from compiler.images import ImageSet, load_images
from compiler.preprocessing import Preprocessing
from compiler.progress import Silent
from compiler.workbench import Settings, Workbench
from compiler.zoo import Zoo, open_zoo
from compiler.zoo_metadata import Description
from compiler.zoo_model import describe_model
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.errors import ZooError
from targets.target import get_target

TINY_ZOO = "random:test_efficientnet,random:test_resnet"
TINY_SIZE = 64
TINY_SWIN = (
    ("img_size", 64),
    ("embed_dim", 24),
    ("depths", (2, 2)),
    ("num_heads", (1, 2)),
    ("window_size", 4),
    ("num_classes", 10),
)
QUICK = Protocol(rounds=1, unit_seconds=1e-4, warmup_seconds=0, min_units=3, max_seconds=0.01)

# Several workers share the cores: threads that wait for each other are ten times slower.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace folder with the demo donors and photographs.

    DERYCC_TEST_HOME names one to keep between runs; without it they are fetched for this run.
    """
    chosen = os.environ.get("DERYCC_TEST_HOME")
    home = Path(chosen) if chosen else tmp_path_factory.mktemp("home")
    try:
        fetch_images(home)
        fetch_demo(home)
    except ZooError as error:
        pytest.skip(f"the demo weights cannot be fetched here: {error}")
    return home


class ToyUnit(nn.Module):
    """Convolution, batch-norm and activation, with a shortcut where the shape allows it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU(inplace=True)
        self.shortcut = inputs == outputs and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(self.conv(x))
        if self.shortcut:
            y += x
        z: torch.Tensor = self.act(y)
        return z


class Toy(nn.Module):
    """A residual network of four units that is cut, exported and run in no time.

    At 16 px its units end on grids of 8, 8, 4 and 4.
    """

    def __init__(self, width: int = 6, classes: int = 10, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            units = [
                ToyUnit(3, width, 2),
                ToyUnit(width, width, 1),
                ToyUnit(width, 2 * width, 2),
                ToyUnit(2 * width, 2 * width, 1),
            ]
            self.blocks = nn.ModuleList(units)
            self.head = nn.Linear(2 * width, classes)
            for unit in units:
                nn.init.normal_(unit.norm.running_mean, std=0.1)  # type: ignore[arg-type]
                nn.init.uniform_(unit.norm.running_var, 0.5, 1.5)  # type: ignore[arg-type]
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        y: torch.Tensor = self.head(x.mean((2, 3)))
        return y


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture(scope="session")
def toys() -> tuple[Dissection, Dissection]:
    """Two donors of the same grids and different widths, cut at 16 px."""
    return dissect(Toy(6, seed=1), 16, "narrow"), dissect(Toy(8, seed=2), 16, "wide")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Ten pictures of noise with the labels 0 to 4, each twice."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    rows = ["file,index"]
    for i in range(10):
        pixels = random.integers(0, 256, (9 + i % 3, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((80, 90)).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{i % 5}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return load_images(folder)


@pytest.fixture(scope="session")
def photographs(pictures: ImageSet) -> Photographs:
    """The first six to calibrate with, the rest to judge with; without labels, two views each."""
    return Photographs(
        ImageSet(pictures.root, pictures.paths[:6]), ImageSet(pictures.root, pictures.paths[6:]), 2
    )


@pytest.fixture(scope="session")
def tiny_zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Two untrained networks that timm keeps for tests: 5 and 4 cuts."""
    return open_zoo(tmp_path_factory.mktemp("tiny"), TINY_ZOO)


@pytest.fixture(scope="session")
def tiny_donors(tiny_zoo: Zoo) -> Donors:
    return Donors(tiny_zoo)


@pytest.fixture(scope="session")
def four_donors(tmp_path_factory: pytest.TempPathFactory) -> Donors:
    """Untrained: two convolutional networks, a vision transformer, a tiny Swin of 10 classes."""
    zoo = open_zoo(tmp_path_factory.mktemp("four"), f"{TINY_ZOO},random:test_vit")
    swin = "swin_tiny_patch4_window7_224"
    said = Description(swin, Preprocessing(64), TINY_SWIN, "none", "random weights")
    made = describe_model("swin.random", said, outline(swin, TINY_SWIN))
    return Donors(Zoo((*zoo.models, made)))


@pytest.fixture(scope="session")
def bench(
    tmp_path_factory: pytest.TempPathFactory, tiny_zoo: Zoo, photographs: Photographs
) -> Iterator[Workbench]:
    """The tiny zoo at 64 px on the reference target: exact, quick, and the same everywhere."""
    home = tmp_path_factory.mktemp("bench")
    settings = Settings(home, (TINY_SIZE,), QUICK, QUICK)
    with CostStore(home / "costs.db") as store:
        yield Workbench(tiny_zoo, get_target("reference"), store, settings, Silent(), photographs)
