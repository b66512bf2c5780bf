"""Weight files: nothing in them runs, nothing wrong in them passes."""

import argparse
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compiler.weights import (
    Weights,
    check_fit,
    in_order,
    load_strictly,
    read_weights,
    save_weights,
    stem,
)
from targets.errors import WorkspaceError, ZooError


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return network().state_dict()


def save_pickle(path: Path, content: object) -> Path:
    torch.save(content, path)  # noqa: TID251 - what users have lying about
    return path


class Payload:
    """What a hostile pickle does: it calls something when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.marker,))


def test_safetensors_are_written_and_read_back_with_their_metadata(tmp_path: Path) -> None:
    weights = Weights(state(), {"timm": "resnet18"})

    save_weights(tmp_path / "deep" / "a.safetensors", weights)
    again = read_weights(tmp_path / "deep" / "a.safetensors")

    assert again.metadata == {"timm": "resnet18"}
    assert again.digest == weights.digest
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_ema"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".pth.tar"])
def test_pickled_tensors_are_read_bare_or_wrapped(
    tmp_path: Path, wrapper: str | None, suffix: str
) -> None:
    content = {wrapper: state(), "epoch": 3} if wrapper else state()

    weights = read_weights(save_pickle(tmp_path / f"a{suffix}", content))

    assert weights.digest == Weights(state()).digest


def test_the_prefix_of_data_parallel_training_is_taken_off(tmp_path: Path) -> None:
    content = {f"module.{key}": tensor for key, tensor in state().items()}

    weights = read_weights(save_pickle(tmp_path / "a.pth", content))

    assert set(weights.tensors) == set(state())


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = save_pickle(tmp_path / "a.pth", {"weight": Payload(marker)})

    with pytest.raises(ZooError, match="pickle that needs code") as caught:
        read_weights(path)

    assert not marker.exists()
    assert "safetensors.torch.save_file" in str(caught.value)


def test_a_bare_pickle_that_would_run_code_is_refused_as_well(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(Payload(marker)))

    with pytest.raises(ZooError, match=r"is refused|is damaged"):
        read_weights(path)

    assert not marker.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="Save its state_dict alone"):
        read_weights(save_pickle(tmp_path / "a.pth", network()))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "holds no state_dict"),
        ({}, "holds no state_dict"),
        ({"a": torch.zeros(1), "epoch": 3}, r"holds more than tensors: epoch. Of what it holds \("),
        (
            {"student": {}, "teacher": {}, "epoch": 3},
            r"Of what it holds \(student, teacher, epoch\), save the state_dict that you want",
        ),
    ],
)
def test_a_pickle_without_a_state_dict_is_refused(
    tmp_path: Path, content: object, words: str
) -> None:
    with pytest.raises(ZooError, match=words):
        read_weights(save_pickle(tmp_path / "a.pth", content))


def test_the_options_of_a_training_script_are_refused_with_a_command_that_leaves_them_out(
    tmp_path: Path,
) -> None:
    content = {"state_dict": state(), "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    path = save_pickle(tmp_path / "last.pth.tar", content)

    with pytest.raises(ZooError) as caught:
        read_weights(path)

    text = str(caught.value)
    assert "the training script's options (argparse.Namespace), which only code can make" in text
    command = shlex.split(text[text.index("python -c") :])
    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True)
    assert read_weights(tmp_path / "last.safetensors").digest == Weights(state()).digest


def test_a_refused_pickle_says_what_it_wanted_to_run(tmp_path: Path) -> None:
    path = save_pickle(tmp_path / "a.pth", {"weight": Payload(tmp_path / "ran")})

    with pytest.raises(ZooError, match=r"code beyond tensors to be run \(getattr\)"):
        read_weights(path)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "a.pt")

    with pytest.raises(ZooError, match="it is TorchScript, which is code"):
        read_weights(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18.a1.safetensors", "resnet18.a1"),
        ("best.pth.tar", "best"),
        ("last.ckpt", "last"),
        ("other.onnx", "other"),
    ],
)
def test_the_stem_of_a_file_leaves_out_what_says_its_kind(name: str, expected: str) -> None:
    assert stem(Path("folder") / name) == expected


@pytest.mark.parametrize("keep", [0, 7, 100, 500])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_said_to_be_damaged(tmp_path: Path, suffix: str, keep: int) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        save_pickle(path, state())
    else:
        save_file(state(), path)
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(ZooError, match="damaged"):
        read_weights(path)


def test_a_missing_file_and_an_unknown_kind_of_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()

    with pytest.raises(ZooError, match="There is no weight file"):
        read_weights(tmp_path / "b.pth")
    with pytest.raises(ZooError, match=r"It reads \.bin, \.ckpt, \.pt, \.pth, \.pth\.tar, "):
        read_weights(tmp_path / "a.onnx")


def test_the_digest_depends_on_names_shapes_types_and_values_but_not_on_order() -> None:
    base = {"a": torch.arange(4.0), "b": torch.tensor(1)}
    others = [
        {"a": torch.arange(4.0), "c": torch.tensor(1)},
        {"a": torch.arange(4.0).reshape(2, 2), "b": torch.tensor(1)},
        {"a": torch.arange(4.0).half(), "b": torch.tensor(1)},
        {"a": torch.arange(4.0) + 1, "b": torch.tensor(1)},
    ]

    digests = {Weights(tensors).digest for tensors in [base, *others]}

    assert len(digests) == 5
    assert Weights(dict(reversed(base.items()))).digest == Weights(base).digest


def test_loading_copies_every_tensor_also_from_half_precision() -> None:
    module = network()
    given = {k: t.half() if t.is_floating_point() else t for k, t in state(seed=1).items()}

    load_strictly(module, given, "net")

    assert all(torch.equal(module.state_dict()[key], given[key].float()) for key in given)
    assert module.state_dict()["0.weight"].dtype == torch.float32


def test_old_files_without_batch_counters_are_accepted() -> None:
    given = {k: t for k, t in state().items() if not k.endswith("num_batches_tracked")}

    load_strictly(network(), given, "net")


def test_weights_that_do_not_fit_are_refused_naming_the_first_keys() -> None:
    given = state()
    del given["0.bias"]
    given["head.weight"] = torch.zeros(2)
    given["1.weight"] = torch.zeros(5)
    given["1.bias"] = torch.zeros(4, dtype=torch.int8)

    with pytest.raises(ZooError) as caught:
        check_fit(network(), given, "net")

    text = str(caught.value)
    assert "The weights of 'net' do not fit the network" in text
    assert "1 missing (0.bias)" in text
    assert "1 not in the network (head.weight)" in text
    assert "1 of another shape (1.weight is (5,) instead of (4,))" in text
    assert "1 of another type (1.bias holds torch.int8)" in text


def test_of_many_wrong_keys_three_are_named_and_the_rest_counted() -> None:
    with pytest.raises(ZooError, match=r"6 missing \(0.weight, 0.bias, 1.weight and 3 more\)"):
        check_fit(network(), {}, "net")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    given = state()
    given["0.weight"][0, 0, 0, 0] = value

    with pytest.raises(ZooError, match=r"not finite in 0\.weight"):
        load_strictly(network(), given, "net")


def test_tensors_map_in_order_to_the_networks_own_names() -> None:
    theirs = {f"features.{key}": tensor for key, tensor in state().items()}

    ours = in_order(theirs, network(), "net")

    assert list(ours) == list(state())
    assert torch.equal(ours["0.weight"], state()["0.weight"])


@pytest.mark.parametrize("change", ["drop", "shape", "role"])
def test_tensors_that_do_not_map_in_order_are_refused(change: str) -> None:
    theirs = state()
    if change == "drop":
        theirs.popitem()
    elif change == "shape":
        theirs["0.weight"] = torch.zeros(1)
    else:
        theirs = {("x.bias" if k == "0.weight" else k): t for k, t in theirs.items()}

    with pytest.raises(ZooError, match="do not map in order"):
        in_order(theirs, network(), "net")


def test_a_place_that_cannot_be_written_is_a_workspace_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(WorkspaceError, match="choose another workspace folder"):
        save_weights(tmp_path / "file" / "a.safetensors", Weights(state()))
