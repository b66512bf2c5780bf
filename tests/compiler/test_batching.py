"""Batching: a graph of batch 1 answers to many images at once as to one after another."""

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from backends.model import TensorSpec
from compiler.batching import SYMBOL, rebatch
from compiler.export import export
from compiler.folding import fold
from compiler.picture_input import with_picture_input
from targets.errors import UsageError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Finer(nn.Module):
    """A convolution onto a finer grid, as stitches repeat positions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.interpolate(self.conv(x), size=(40, 40), mode="nearest")
        return y.mean((2, 3)).reshape(-1, 2, 2).flatten(1)


def exported(name: str) -> onnx.ModelProto:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Finer() if name == "finer" else timm.create_model(name)
    spec = TensorSpec("image", (1, 3, 64, 64))
    return onnx.ModelProto.FromString(fold(export(made.eval(), spec, name, "logits")).model.onnx)


def run(proto: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    (answer,) = session.run(None, {"image": image})
    return np.asarray(answer)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, 64, 64), dtype=np.float32)


@pytest.fixture(scope="module", params=["test_resnet", "test_efficientnet", "finer"])
def proto(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return exported(request.param)


def test_any_number_of_images_answers_as_one_after_another(proto: onnx.ModelProto) -> None:
    made = rebatch(proto, None)

    expected = np.concatenate([run(proto, one[None]) for one in images(3)])
    assert np.allclose(run(made, images(3)), expected, atol=1e-5)
    assert np.allclose(run(made, images(1)), expected[:1], atol=1e-5)
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == SYMBOL
    assert made.graph.output[0].type.tensor_type.shape.dim[0].dim_param == SYMBOL


def test_a_fixed_batch_answers_as_one_after_another(proto: onnx.ModelProto) -> None:
    made = rebatch(proto, 2)

    expected = np.concatenate([run(proto, one[None]) for one in images(2)])
    assert np.allclose(run(made, images(2)), expected, atol=1e-5)
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_the_graph_that_was_given_stays_as_it_was(proto: onnx.ModelProto) -> None:
    before = proto.SerializeToString(deterministic=True)

    rebatch(proto, None)

    assert proto.SerializeToString(deterministic=True) == before
    assert rebatch(proto, 1).SerializeToString(deterministic=True) == before


def test_tokens_beside_those_of_the_picture_are_repeated() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = timm.create_model("test_vit").eval()
    spec = TensorSpec("image", (1, 3, 160, 160))
    proto = onnx.ModelProto.FromString(export(made, spec, "vit", "logits").onnx)
    image = np.random.default_rng(0).standard_normal((3, 3, 160, 160), dtype=np.float32)

    expected = np.concatenate([run(proto, one[None]) for one in image])

    for batch in (None, 3):
        assert np.allclose(run(rebatch(proto, batch), image), expected, atol=1e-5)


def test_a_batch_that_is_none_is_refused(proto: onnx.ModelProto) -> None:
    with pytest.raises(UsageError, match="cannot take 0 images at once"):
        rebatch(proto, 0)
    with pytest.raises(UsageError, match="Only a graph of one input and batch 1"):
        rebatch(rebatch(proto, 2), 4)


def test_pictures_are_normalized_inside(proto: onnx.ModelProto) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    outside = ((picture / np.float32(255) - np.float32(MEAN)) / np.float32(STD)).transpose(
        0, 3, 1, 2
    )

    made = with_picture_input(proto, MEAN, STD)

    expected = run(proto, np.ascontiguousarray(outside, dtype=np.float32))
    assert np.allclose(run(made, picture), expected, rtol=1e-4, atol=1e-5)
    assert made.graph.input[0].name == "image"
    both = with_picture_input(rebatch(proto, None), MEAN, STD)
    assert np.allclose(run(both, np.concatenate([picture] * 2))[1:], expected, atol=1e-4)


def test_only_pictures_of_three_channels_are_prepared() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "flat",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.zeros(1, "f4"), "unused")],
    )

    with pytest.raises(UsageError, match="can prepare its pictures itself"):
        with_picture_input(helper.make_model(graph), MEAN, STD)
