"""Models, rounds and environments that are made in no time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from backends.model import ExportedModel
from backends.reference import ReferenceBackend
from profilers.environment import Environment
from profilers.measurement import Measurement
from profilers.protocol import Protocol
from profilers.store import CostStore, Round
from targets.target import get_target


def conv(channels: int, side: int = 8, seed: int = 0, name: str = "") -> ExportedModel:
    """One 1x1 convolution of that many channels."""
    weight = np.random.default_rng(seed).standard_normal((channels, channels, 1, 1))
    shape = [1, channels, side, side]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        name or f"conv{channels}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return ExportedModel.from_bytes(proto.SerializeToString())


@pytest.fixture
def models() -> tuple[ExportedModel, ...]:
    return tuple(conv(channels) for channels in (1, 2, 3, 4))


@pytest.fixture
def twin() -> ExportedModel:
    """The first of `models` with other weights."""
    return conv(1, seed=7, name="twin")


@pytest.fixture
def unloadable() -> ExportedModel:
    """Valid ONNX with an operator that no runtime has."""
    graph = helper.make_graph(
        [helper.make_node("Frobnicate", ["x"], ["y"], domain="nobody")],
        "unloadable",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nobody", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return ExportedModel.from_bytes(proto.SerializeToString())


@pytest.fixture
def environment() -> Environment:
    return Environment.capture(get_target("reference"), ReferenceBackend())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where there is no store yet, in each kind of database."""
    if request.param == "sqlite":
        return str(tmp_path / "anywhere.sqlite")
    return str(request.getfixturevalue("postgres")())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CostStore]:
    with CostStore(tmp_path / "costs.sqlite") as store:
        yield store


@pytest.fixture
def protocol() -> Protocol:
    return Protocol(rounds=2, min_units=3, unit_seconds=0.001, warmup_seconds=0.001)


def made(key: str, rounds: Sequence[Sequence[float]], capped: bool = False) -> Measurement:
    return Measurement(
        key=key,
        name=key,
        rounds=tuple(tuple(samples) for samples in rounds),
        load_seconds=(0.5,) * len(rounds),
        capped=capped,
    )


@pytest.fixture
def round_of_a() -> Round:
    return Round("a", "block a", 0, (1e-3, 2e-3, 3e-3), 0.5, session="one")
