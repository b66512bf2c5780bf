"""Verification: engines that differ from the network, or from themselves, do not pass."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from backends.registry import get_backend
from compiler.export import INPUT_NAME
from compiler.network import Blueprint, Network
from compiler.verification import Verification, verify
from compiler.workbench import Workbench

Answer = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def network(bench: Workbench) -> Network:
    return bench.candidates.network(Blueprint.pure("test_resnet.random", 64))


def check(network: Network, bench: Workbench, change: Answer) -> Verification:
    """Verify an engine that answers as the network does, changed."""

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {"logits": change(network(torch.from_numpy(inputs[INPUT_NAME])).numpy())}

    engine: Any = SimpleNamespace(run=run)
    return verify(network, engine, bench.photographs.held_out)


def test_the_exported_engine_passes(network: Network, bench: Workbench) -> None:
    made = bench.candidates.make(network.blueprint)
    with get_backend("reference").compile(made.model, bench.target) as engine:
        found = verify(network, engine, bench.photographs.held_out)

    assert found.passed
    assert (found.images, found.top1_agreement) == (4, 1.0)
    assert found.cosine > 0.999999


def test_opposite_answers_have_the_cosine_minus_one(network: Network, bench: Workbench) -> None:
    found = check(network, bench, lambda logits: -logits)

    assert not found.passed
    assert found.repeatable
    assert found.cosine == pytest.approx(-1.0)
    assert found.max_abs_error > 0


def test_another_answer_the_second_time_fails(network: Network, bench: Workbench) -> None:
    noise = iter(np.arange(100, dtype=np.float32) * 1e-9)

    found = check(network, bench, lambda logits: logits * (1 + 1e4 * next(noise)))

    assert found.cosine > found.gate
    assert not found.repeatable
    assert not found.passed


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_an_engine_that_says_nothing_fails(
    network: Network, bench: Workbench, value: float
) -> None:
    found = check(network, bench, lambda logits: np.full_like(logits, value))

    assert not found.passed
