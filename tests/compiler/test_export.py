"""Export: the runtime computes what torch computes, block by block and whole."""

import numpy as np
import onnx
import pytest
import timm
import torch
from torch import nn

from backends.model import ExportedModel, TensorSpec
from backends.registry import get_backend
from compiler.dissection import Dissection, dissect
from compiler.export import OPSET, ExportedDonor, export
from compiler.folding import fold
from targets.target import Target, get_target


@pytest.fixture(scope="module")
def target() -> Target:
    return Target.parse("cpu:threads=1,spinning=off")


@pytest.fixture(scope="module", params=["resnet10t", "mobilenetv2_035", "vit_tiny_patch16_224"])
def donor(request: pytest.FixtureRequest) -> Dissection:
    name = str(request.param)
    options = {"img_size": 64, "depth": 3} if name.startswith("vit") else {}
    module = timm.create_model(name, pretrained=False, num_classes=20, **options)
    return dissect(module.eval(), 64, name)


def run(model: ExportedModel, target: Target, x: torch.Tensor) -> np.ndarray:
    with get_backend(target.backend).compile(model, target) as engine:
        (y,) = engine.run({model.inputs[0].name: x.numpy()}).values()
    return y


@torch.no_grad()
def test_every_block_computes_in_the_runtime_what_it_computes_in_torch(
    donor: Dissection, target: Target
) -> None:
    exported = ExportedDonor(donor)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first, *_, last = donor.cuts

    whole = run(exported.run(first, last, "whole"), target, x)

    for block in donor.blocks:
        model = exported.run(block.start, block.end, block.name)
        y = donor.module(block.start, block.end)(x)
        scale = float(y.abs().max())
        assert run(model, target, x) == pytest.approx(y.numpy(), rel=1e-4, abs=1e-5 * scale)
        assert model.name == block.name
        assert [(s.name, s.shape) for s in model.inputs] == [("x", block.start.tensor.shape)]
        assert [(s.name, s.shape) for s in model.outputs] == [("y", block.end.tensor.shape)]
        x = y
    assert whole == pytest.approx(x.numpy(), rel=1e-4, abs=1e-5 * float(x.abs().max()))


def test_a_block_read_out_of_its_donor_is_the_block_exported_alone(
    toys: tuple[Dissection, Dissection],
) -> None:
    narrow, _ = toys

    exported = ExportedDonor(narrow)

    for block in narrow.blocks:
        spec = TensorSpec("x", block.start.tensor.shape)
        alone = fold(export(narrow.module(block.start, block.end), spec, block.name)).model
        assert exported.run(block.start, block.end, block.name).key == alone.key


def test_nothing_of_the_exporting_machine_is_written_down(toy: nn.Module) -> None:
    proto = onnx.ModelProto.FromString(export(toy, TensorSpec("image", (1, 3, 16, 16)), "toy").onnx)

    assert b".py" not in proto.SerializeToString()
    assert len(proto.metadata_props) == 0
    assert all(not node.doc_string and not node.metadata_props for node in proto.graph.node)


def test_an_export_has_the_names_and_the_opset_that_were_asked_for(toy: nn.Module) -> None:
    model = export(toy, TensorSpec("image", (1, 3, 16, 16)), "toy", "logits")

    proto = onnx.ModelProto.FromString(model.onnx)
    assert (model.name, proto.graph.name) == ("toy", "toy")
    assert [spec.name for spec in model.inputs] == ["image"]
    assert [(spec.name, spec.shape) for spec in model.outputs] == [("logits", (1, 10))]
    assert [opset.version for opset in proto.opset_import if not opset.domain] == [OPSET]


def test_batch_norms_are_folded_as_inference_allows(toy: nn.Module) -> None:
    model = export(toy.train(), TensorSpec("x", (1, 3, 16, 16)), "toy")

    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    operators = {node.op_type for node in onnx.ModelProto.FromString(model.onnx).graph.node}
    assert "BatchNormalization" not in operators
    wanted = toy.eval()(x).detach().numpy()
    assert run(model, get_target("reference"), x) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_an_export_leaves_every_modules_mode_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).train()
    module[1].eval()

    export(module, TensorSpec("x", (1, 3, 4, 4)), "mixed")

    assert [part.training for part in module.modules()] == [True, True, False]
