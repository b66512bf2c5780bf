"""Classes of a checkpoint: counted on its classifier, whatever the architecture calls it."""

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from compiler.class_count import class_count, classifiers


def outline(architecture: str, **options: int) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(architecture, pretrained=False, **options)


@pytest.mark.parametrize(
    ("architecture", "heads"),
    [
        ("resnet18", ("fc",)),
        ("mobilenetv3_large_100", ("classifier",)),
        ("vit_tiny_patch16_224", ("head",)),
        ("swin_tiny_patch4_window7_224", ("head.fc",)),
        ("dpn68", ("classifier",)),
        ("deit_tiny_distilled_patch16_224", ("head", "head_dist")),
        ("levit_128s", ("head.linear", "head_dist.linear")),
        ("mobilenext_100", ("head.fc",)),
        ("vit_small_patch14_dinov2", ("head",)),
    ],
)
def test_the_classifier_is_the_one_that_timm_names(
    architecture: str, heads: tuple[str, ...]
) -> None:
    tuned, default = outline(architecture, num_classes=7), outline(architecture)

    assert classifiers(default) == heads
    assert class_count(tuned.state_dict(), default) == 7
    assert class_count(default.state_dict(), default) is None


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "squeezenet1_1", "densenet121"])
def test_the_classifier_of_other_networks_is_their_last_layer(name: str) -> None:
    with torch.device("meta"):
        tuned, default = (
            models.get_model(name, weights=None, num_classes=count) for count in (7, 1000)
        )

    assert class_count(tuned.state_dict(), default) == 7


@pytest.mark.parametrize(
    "architecture", ["vit_tiny_patch16_224", "convnext_atto", "levit_128s", "repvit_m1"]
)
def test_a_checkpoint_without_a_classifier_has_no_classes(architecture: str) -> None:
    bare, default = outline(architecture, num_classes=0), outline(architecture)

    assert class_count(bare.state_dict(), default) == 0


def test_a_checkpoint_without_a_classifier_is_no_other_networks() -> None:
    default = outline("vit_tiny_patch16_224")
    bare = outline("vit_tiny_patch16_224", num_classes=0).state_dict()

    assert class_count({**bare, "queue": torch.zeros(2)}, default) is None
    assert class_count({k: t for k, t in bare.items() if "blocks.3" not in k}, default) is None
    assert class_count(bare, outline("vit_small_patch16_224", num_classes=0)) is None


def test_a_checkpoint_of_another_network_is_left_to_be_refused() -> None:
    default = outline("resnet18")
    state = dict(default.state_dict())

    assert class_count({**state, "fc.weight": torch.zeros(7, 3)}, default) is None
    assert class_count({**state, "fc.weight": torch.zeros(7)}, default) is None
    assert class_count({"conv1.weight": state["conv1.weight"]}, default) is None
    assert class_count(outline("mobilenetv2_100").state_dict(), default) is None


def test_heads_that_disagree_are_left_to_be_refused() -> None:
    default = outline("deit_tiny_distilled_patch16_224")
    state = {**default.state_dict(), "head.weight": torch.zeros(7, 192)}

    assert class_count(state, default) is None


def test_a_network_is_asked_for_its_classifier_where_its_configuration_names_none() -> None:
    network = outline("resnet18")
    network.pretrained_cfg = {}

    assert classifiers(network) == ("fc",)


def test_a_network_without_layers_has_no_classifier() -> None:
    network = nn.Identity()

    assert classifiers(network) == ()
    assert class_count({}, network) is None
