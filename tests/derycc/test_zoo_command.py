"""`derycc zoo show` and `zoo list`: what they print of one donor, and of donors of every source."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import Result
from safetensors.torch import save_file
from torchvision import models
from typer.testing import CliRunner

from derycc.app import app

DEAF = """
from torch import nn

class Deaf(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).mean((2, 3)) + self.conv(x.flip(3)).mean((2, 3))

def deaf():
    return Deaf()
"""


def derycc(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def show(home: Path, *words: str | Path) -> Result:
    result = derycc("zoo", "show", *words, "--home", home)
    assert result.exit_code == 0, result.output
    return result


def refusal(result: Result, code: int) -> str:
    """The one paragraph of a command that was refused with this exit code."""
    assert result.exit_code == code, result.output
    return result.stderr.splitlines()[-1].removeprefix("derycc: ")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_donor_is_shown_with_its_cuts(tmp_path: Path) -> None:
    lines = show(tmp_path, "random:test_resnet", "--size", "64").stdout.splitlines()

    assert lines[:11] == [
        "test_resnet.random",
        "  architecture  test_resnet",
        "  source        random weights",
        "  licence       none",
        "  weights       random, the same on every load",
        "  input         160 px, crop 0.95, bilinear, mean (0.5, 0.5, 0.5), "
        "deviation (0.5, 0.5, 0.5)",
        "  output        1000 numbers",
        "  parameters    469,688",
        "  MACs          16,488,192 at 64 px",
        "  published     nothing is known",
        "7 cuts of test_resnet.random at 64 px",
    ]
    rows = [cells(line) for line in lines[11:] if line.startswith("│")]
    stem = ["stem", "NCHW 1x32x16x16", "16x16, stride 4", "0.0 %", "7,472", "7.5 M", "1.6 %"]
    assert rows[1] == [*stem, "45.6 %"]
    assert [row[0] for row in rows] == [
        *("input", "stem", "layer1.0", "layer2.0", "layer3.0", "layer4.0", "output"),
    ]
    assert rows[-1][1:4] == ["NC 1x1000", "none", "100.0 %"]
    assert rows[-1][-2:] == ["100.0 %", "100.0 %"]


def test_token_grids_are_shown_with_the_tokens_before_them(tmp_path: Path) -> None:
    text = show(tmp_path, "random:test_vit").stdout

    assert "│ NLC 1x101x64 │ 10x10 + 1 token, stride 16 │" in " ".join(text.split())


def test_every_legal_cut_is_shown_on_demand(tmp_path: Path) -> None:
    few, all_of_them = (
        json.loads(show(tmp_path, "random:test_resnet", "--size", "64", "--json", *more).stdout)[
            "cuts"
        ]
        for more in ([], ["--all"])
    )

    assert [cut["node"] for cut in few] == [False, False, True, True, True, True, False]
    names = [cut["name"] for cut in all_of_them]
    assert {cut["name"] for cut in few} < set(names)
    assert "conv1.0" in names
    for cuts in (few, all_of_them):
        assert sum(cut["params"] for cut in cuts) == 469_688
        assert sum(cut["macs"] for cut in cuts) == 16_488_192
        depths = [cut["depth"] for cut in cuts]
        assert depths == sorted(depths)


def test_json_says_everything_that_is_recorded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = models.get_model("squeezenet1_1", weights=None, num_classes=7)
    path = tmp_path / "flowers.safetensors"
    save_file(network.state_dict(), path)

    words = [f"torchvision:squeezenet1_1={path}", "--size", "64", "--json"]
    said = json.loads(show(tmp_path, *words).stdout)

    assert said["name"] == "torchvision:squeezenet1_1.flowers"
    assert said["weights_path"] == said["source"] == str(path)
    assert len(said["weights_sha256"]) == 64
    assert said["options"] == [["num_classes", 7]]
    assert (said["preprocessing"]["input_size"], said["input_size"]) == (224, 64)
    assert said["macs"] > said["macs_at_input_size"] > 0
    assert said["cuts"][-1] == {
        "name": "output",
        "node": False,
        "layout": "NC",
        "shape": [1, 7],
        "dtype": "float32",
        "stride": 0,
        "token_grid": [],
        "prefix_tokens": 0,
        "depth": 1.0,
        "params": said["cuts"][-1]["params"],
        "macs": said["cuts"][-1]["macs"],
        "params_before": 1.0,
        "macs_before": 1.0,
    }


def test_a_donor_of_a_zoo_is_shown_by_its_name(tmp_path: Path) -> None:
    zoo = "random:test_resnet,test_efficientnet"

    text = show(tmp_path, "test_resnet", "--zoo", zoo).stdout

    assert text.startswith("test_resnet.random\n")


def test_several_donors_are_not_shown_at_once(tmp_path: Path) -> None:
    zoo = "random:test_resnet,test_efficientnet"

    result = derycc("zoo", "show", zoo, "--home", tmp_path)

    assert refusal(result, 2) == (
        f"'{zoo}' is 2 networks: test_resnet.random, test_efficientnet.random. Name one of them, "
        f"with --zoo {zoo}."
    )


def test_an_unknown_donor_of_a_zoo_suggests_the_nearest(tmp_path: Path) -> None:
    words = ["test_resnot", "--zoo", "random:test_resnet", "--home", tmp_path]

    result = derycc("zoo", "show", *words)

    assert "Did you mean 'test_resnet.random'?" in refusal(result, 2)


def test_a_model_that_cannot_be_cut_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo_deaf.py").write_text(DEAF)
    monkeypatch.chdir(tmp_path)

    result = derycc("zoo", "show", "zoo_deaf:deaf", "--size", "32", "--home", tmp_path)

    message = refusal(result, 7)
    assert message.startswith("zoo_deaf:deaf has no position where a single activation is live")


def test_a_transformer_is_shown_at_a_size_that_is_not_its_own(tmp_path: Path) -> None:
    words = ["random:vit_tiny_patch16_224", "--size", "64", "--home", tmp_path]

    result = derycc("zoo", "show", *words)

    assert result.exit_code == 0
    assert "15 cuts of vit_tiny_patch16_224.random at 64 px" in result.stdout


def test_weights_out_of_reach_say_how_to_do_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler.hub.constants.HF_HUB_OFFLINE", True)

    message = refusal(derycc("zoo", "show", "resnet34", "--home", tmp_path), 7)

    assert "or use random:resnet34 where only latency and shapes matter" in message


def test_donors_of_every_source_are_listed(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    network = models.get_model("squeezenet1_1", weights=None)
    save_file(network.state_dict(), tmp_path / "zoo" / "mine.safetensors")
    zoo = f"torchvision:squeezenet1_1={tmp_path / 'zoo' / 'mine.safetensors'},random:test_resnet"

    listed = derycc("zoo", "list", "--home", tmp_path, "--zoo", zoo)
    data = derycc("zoo", "list", "--home", tmp_path, "--zoo", zoo, "--json")

    assert "torchvision:squeezenet1_1.mine" in listed.stdout
    assert [donor["name"] for donor in json.loads(data.stdout)] == [
        "torchvision:squeezenet1_1.mine",
        "test_resnet.random",
    ]
