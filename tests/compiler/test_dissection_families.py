"""Families: one network of every kind timm has is cut, and computes and learns as before.

All of timm's architectures are covered by `benchmarks/dissection_coverage.py`; this is its sample.
"""

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from compiler.dissection import Dissection, dissect

SIZE = 64
# Input size and options that keep a network small; its structure stays.
SMALL: dict[str, tuple[int, dict[str, Any]]] = {
    "beit_base_patch16_224": (SIZE, {"img_size": SIZE, "depth": 2, "embed_dim": 192}),
    "cait_xxs24_224": (SIZE, {"img_size": SIZE, "depth": 3}),
    "convit_tiny": (SIZE, {"img_size": SIZE, "depth": 3}),
    "convmixer_768_32": (SIZE, {}),
    "cs3darknet_focus_s": (SIZE, {}),
    "davit_tiny": (SIZE, {"depths": (1, 1, 1, 1), "embed_dims": (24, 48, 96, 192)}),
    "deit_tiny_distilled_patch16_224": (SIZE, {"img_size": SIZE, "depth": 3}),
    "dla46x_c": (SIZE, {}),
    "edgenext_xx_small": (SIZE, {}),
    "efficientformer_l1": (224, {}),
    "efficientvit_b0": (SIZE, {}),
    "efficientvit_m0": (SIZE, {"img_size": SIZE}),
    "ese_vovnet19b_slim_dw": (SIZE, {}),
    "eva02_tiny_patch14_224": (56, {"img_size": 56, "depth": 3}),
    "fasternet_t0": (SIZE, {}),
    "fastvit_t8": (SIZE, {}),
    "ghostnet_050": (SIZE, {}),
    "halonet26t": (256, {}),
    "hgnetv2_b0": (SIZE, {}),
    "hrnet_w18_small": (SIZE, {}),
    "inception_next_atto": (SIZE, {}),
    "inception_v3": (96, {}),
    "levit_128s": (224, {}),
    "mobilenetv3_small_050": (SIZE, {}),
    "mobilevit_xxs": (SIZE, {}),
    "mobilevitv2_050": (SIZE, {}),
    "nest_tiny": (224, {}),
    "pit_ti_224": (SIZE, {"img_size": SIZE}),
    "poolformerv2_s12": (SIZE, {}),
    "pvt_v2_b0": (SIZE, {}),
    "repvit_m1": (SIZE, {}),
    "res2net50_14w_8s": (SIZE, {"layers": (1, 1, 1, 1)}),
    "resnest14d": (SIZE, {}),
    "rexnet_100": (SIZE, {}),
    "skresnet18": (SIZE, {}),
    "swin_tiny_patch4_window7_224": (SIZE, {"img_size": SIZE, "depths": (2, 2), "embed_dim": 24}),
    "resnetv2_18": (SIZE, {}),
    "selecsls42": (SIZE, {}),
    "swinv2_tiny_window8_256": (SIZE, {"img_size": SIZE, "depths": (2, 2), "embed_dim": 24}),
    "test_mambaout": (SIZE, {}),
    "test_nfnet": (SIZE, {}),
    "tiny_vit_5m_224": (224, {}),
    "twins_svt_small": (SIZE, {"depths": (1, 1, 2, 1), "embed_dims": (32, 64, 128, 256)}),
    "visformer_tiny": (SIZE, {"img_size": SIZE}),
    "vit_tiny_r_s16_p8_224": (SIZE, {"img_size": SIZE, "depth": 3}),
    "xception41p": (SIZE, {}),
    "xcit_nano_12_p8_224": (SIZE, {"depth": 3}),
}


def made(name: str) -> tuple[nn.Module, Dissection, Tensor]:
    size, options = SMALL[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        donor = timm.create_model(name, num_classes=7, **options).eval()
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    return donor, dissect(donor, size, name), x


def chain(dissection: Dissection) -> nn.Sequential:
    return nn.Sequential(*(dissection.module(b.start, b.end) for b in dissection.blocks))


def drawn(module: nn.Module, x: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        y: Tensor = module(x)
        return y


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: copy.deepcopy(buffer) for name, buffer in module.named_buffers()}


@pytest.mark.parametrize("name", SMALL)
def test_blocks_compute_and_learn_as_their_donor_in_both_modes(name: str) -> None:
    donor, dissection, x = made(name)
    blocks = chain(dissection)
    before = statistics(donor)
    parameters = [p for p in donor.parameters() if p.requires_grad]

    with torch.no_grad():
        same_answers = torch.equal(blocks.eval()(x), donor(x))
    theirs = drawn(donor.train(), x)
    left = statistics(donor)
    their_gradients = torch.autograd.grad(theirs.square().sum(), parameters, allow_unused=True)
    donor.load_state_dict(before, strict=False)
    ours = drawn(blocks.train(), x)
    our_gradients = torch.autograd.grad(ours.square().sum(), parameters, allow_unused=True)

    assert same_answers
    assert torch.equal(ours, theirs)
    assert all(torch.equal(buffer, left[key]) for key, buffer in donor.named_buffers())
    pairs = zip(our_gradients, their_gradients, strict=True)
    assert all(a is b is None or torch.equal(a, b) for a, b in pairs)
