"""Networks of the user's own code: called by name, and blamed by name where they fail."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from compiler.preprocessing import Preprocessing
from compiler.user_models import is_user_code
from compiler.zoo import ZooModel, model_from_file, open_zoo
from targets.errors import UsageError, ZooError

NETS = """
import numpy
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.head = nn.Linear(width, 5)
        self.register_buffer("scale", torch.ones(1), persistent=False)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)) * self.scale)

def tiny():
    return Tiny()

def described():
    network = Tiny().half()
    network.preprocessing = {"input_size": 32, "mean": (0.5, 0.5, 0.5), "license": "MIT"}
    return network

def as_timm():
    network = Tiny()
    network.pretrained_cfg = {"input_size": (3, 48, 48), "crop_pct": 1.0}
    return network

def misdescribed():
    network = Tiny()
    network.preprocessing = {"input_size": 32, "mean": "dark"}
    return network

def restless():
    network = Tiny()
    nn.init.constant_(network.head.bias, float(numpy.random.rand()))
    return network

def lazy():
    return nn.LazyLinear(3)

def broken():
    raise ZeroDivisionError("no layers")

def nothing():
    return {}

def needy(width):
    return Tiny(width)

network = Tiny()
number = 3
"""


@pytest.fixture(autouse=True)
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a module `zoo_nets` and a package `zoo_package` with two faults."""
    (tmp_path / "zoo_nets.py").write_text(NETS)
    (tmp_path / "zoo_package").mkdir()
    (tmp_path / "zoo_package" / "__init__.py").touch()
    (tmp_path / "zoo_package" / "wants.py").write_text("import zoo_absent\n")
    (tmp_path / "zoo_package" / "wrong.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("zoo_")]:
        del sys.modules[name]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package, as Python sees one, that offers three networks."""
    site = tmp_path / "site"
    info = site / "zoo_dist-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-dist\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[derycc.models]\ntiny_net = zoo_site:tiny\ngone_net = zoo_site:gone\n"
        "number_net = zoo_site:number\n"
    )
    (site / "zoo_site.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(site))
    return site


def opened(text: str) -> ZooModel:
    (found,) = open_zoo(Path("home"), text)
    return found


def error(text: str) -> str:
    with pytest.raises((UsageError, ZooError)) as caught:
        open_zoo(Path("home"), text)
    return str(caught.value)


def test_a_function_of_a_module_in_the_current_folder_makes_a_network() -> None:
    before = list(sys.path)

    found = opened("zoo_nets:tiny")

    assert (found.name, found.architecture) == ("zoo_nets:tiny", "zoo_nets:tiny")
    assert (found.source, found.licence) == ("Python function zoo_nets:tiny", "unknown")
    assert found.preprocessing == Preprocessing(224)
    assert (found.params, found.macs) == (3 * 4 * 9 + 4 + 4 * 5 + 5, 4 * 222 * 222 * 27 + 20)
    assert (found.weights_path, found.options, found.known_top1) == (None, (), None)
    assert sys.path == before


def test_its_weights_are_the_same_every_time_and_hashed() -> None:
    found = opened("zoo_nets:tiny")
    before = torch.random.get_rng_state()

    first, again = found.load(), found.load()

    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))
    assert not first.training
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(found.weights_sha256) == 64


def test_it_says_itself_how_it_is_shown_pictures() -> None:
    described, as_timm = opened("zoo_nets:described"), opened("zoo_nets:as_timm")

    assert described.preprocessing == Preprocessing(32, mean=(0.5, 0.5, 0.5))
    assert described.licence == "MIT"
    assert described.load().conv.weight.dtype == torch.float32
    assert as_timm.preprocessing == Preprocessing(48, crop=1.0)


def test_its_weights_may_come_from_a_file(nets: Path) -> None:
    tensors = {f"model.{k}": t + 1 for k, t in opened("zoo_nets:tiny").load().state_dict().items()}
    save_file(tensors, nets / "mine.safetensors")

    found = opened("zoo_nets:tiny=mine.safetensors")

    assert found.name == "zoo_nets:tiny.mine"
    assert found.untagged == "zoo_nets:tiny"
    assert found.source == "Python function zoo_nets:tiny: mine.safetensors"
    assert torch.equal(found.load().conv.weight, tensors["model.conv.weight"])


def test_a_file_cannot_have_code_run(nets: Path) -> None:
    tensors = opened("zoo_nets:tiny").load().state_dict()
    save_file(tensors, nets / "sly.safetensors", metadata={"architecture": "zoo_nets:broken"})

    with pytest.raises(ZooError, match="wants the code 'zoo_nets:broken' to be run, which a file"):
        model_from_file(nets / "sly.safetensors")


def test_its_identity_changes_with_its_code(nets: Path) -> None:
    before = opened("zoo_nets:tiny")
    (nets / "zoo_nets.py").write_text(NETS.replace(".relu()", ".tanh()"))

    after = opened("zoo_nets:tiny")

    assert before.weights_sha256 == after.weights_sha256
    assert before.identity != after.identity


def test_weights_that_differ_from_call_to_call_are_refused() -> None:
    found = opened("zoo_nets:restless")

    with pytest.raises(ZooError, match="made other weights than when the zoo was opened"):
        found.load()


def test_an_entry_point_of_an_installed_package_makes_a_network(package: Path) -> None:
    found = opened("entry:tiny_net")

    assert found.name == "entry:tiny_net"
    assert found.source == "entry point tiny_net of zoo-dist 1.2"
    assert found.load()(torch.zeros(1, 3, 8, 8)).shape == (1, 5)
    assert len(found.code_sha256) == 64


def test_entry_points_and_others_stand_in_one_list(package: Path) -> None:
    zoo = open_zoo(Path("home"), "entry:tiny_net,zoo_nets:tiny,random:test_resnet")

    assert zoo.names == ("entry:tiny_net", "zoo_nets:tiny", "test_resnet.random")


def test_an_unknown_entry_point_suggests_the_nearest(package: Path) -> None:
    assert error("entry:tiny_nat") == (
        "Unknown entry point of the group derycc.models 'tiny_nat'. Did you mean 'tiny_net' or "
        "'gone_net'? Known: gone_net, number_net, tiny_net."
    )
    assert "entry:tiny_net" in error("tiny_net")


def test_an_entry_point_that_leads_nowhere_is_blamed(package: Path) -> None:
    assert error("entry:gone_net").startswith(
        "'entry:gone_net' is 'zoo_site:gone', which cannot be loaded: AttributeError: "
    )
    assert "'number' of 'zoo_site' is a int." in error("entry:number_net")


def test_two_packages_with_one_name_are_told_apart(package: Path) -> None:
    other = package / "zoo_other-1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-other\nVersion: 1\n")
    (other / "entry_points.txt").write_text("[derycc.models]\ntiny_net = zoo_other:make\n")
    importlib.invalidate_caches()

    text = error("entry:tiny_net")

    assert "Several packages offer an entry point 'tiny_net': " in text
    assert "'zoo_site:tiny'" in text and "'zoo_other:make'" in text


@pytest.mark.parametrize(
    ("zoo", "words"),
    [
        (
            "zoo_nats:tiny",
            "There is no Python module 'zoo_nats' for 'zoo_nats:tiny', neither installed nor in "
            "the current folder.",
        ),
        ("zoo_package.gone:f", "There is no Python module 'zoo_package.gone'"),
        ("timmm:resnet18", "networks of libraries are timm:NAME, torchvision:NAME"),
        (
            "zoo_package.wants:f",
            "'zoo_package.wants:f' cannot be imported: ModuleNotFoundError: No module named "
            "'zoo_absent'.",
        ),
        ("zoo_package.wrong:f", "cannot be imported: SyntaxError: "),
        ("zoo_nets:tyny", "Unknown function of the module 'zoo_nets' 'tyny'. Did you mean 'tiny'"),
        ("zoo_nets:number", "'number' of 'zoo_nets' is a int. It must be a function that takes"),
        ("zoo_nets:network", "'network' of 'zoo_nets' is a network itself."),
        ("zoo_nets:broken", "'zoo_nets:broken' raised ZeroDivisionError: no layers."),
        ("zoo_nets:needy", "raised TypeError: needy() missing 1 required positional argument"),
        ("zoo_nets:nothing", "'zoo_nets:nothing' returned a dict. It must be a function"),
        ("zoo_nets:lazy", "has parameters without values: weight."),
        ("zoo_nets:misdescribed", "The preprocessing of 'zoo_nets:misdescribed' cannot be used"),
        ("random:zoo_nets:tiny", "asks for random weights of code, which makes its own."),
        ("zoo_nets:not-a-name", "There is no folder or file 'zoo_nets:not-a-name'."),
    ],
)
def test_code_that_fails_is_named_with_what_is_wrong(zoo: str, words: str) -> None:
    assert words in error(zoo)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("entry:anything", True),
        ("a.b_c:make", True),
        ("timm:resnet18", False),
        ("torchvision:resnet18", False),
        ("random:resnet18", False),
        ("resnet18", False),
        ("a/b:c", False),
        ("a:b.c", False),
    ],
)
def test_code_is_told_from_other_sources_by_its_form(text: str, code: bool) -> None:
    assert is_user_code(text) is code
