"""Candidates with int8 parts: judged by their engine, beside their own float form."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.deviation import cosines
from backends.registry import get_backend
from compiler.answers import answer, engine_answers, inputs_of
from compiler.candidates import Candidate, Photographs
from compiler.int8_proof import prove
from compiler.judged import Int8Judged
from compiler.kept import keeps, missed
from compiler.network import Blueprint, Segment
from compiler.progress import Silent
from compiler.workbench import Settings, Workbench
from compiler.zoo import Zoo
from profilers.store import CostStore
from targets.budget import Budget
from targets.target import get_target
from tests.compiler.conftest import QUICK, TINY_SIZE

EFFICIENT, RESIDUAL = "test_efficientnet.random", "test_resnet.random"
FLOAT = Blueprint(
    64, (Segment(EFFICIENT, "input", "blocks.1.0"), Segment(RESIDUAL, "layer1.0", "output"))
)
MIXED = FLOAT.with_int8([(1, "layer2.0", "layer4.0")])


@pytest.fixture(scope="module")
def ort_bench(
    tmp_path_factory: pytest.TempPathFactory, tiny_zoo: Zoo, photographs: Photographs
) -> Iterator[Workbench]:
    """The tiny zoo at 64 px on ONNX Runtime, in int8 wherever that is possible."""
    home = tmp_path_factory.mktemp("ort")
    target = get_target("cpu:threads=1,precisions=fp32+int8")
    settings = Settings(home, (TINY_SIZE,), QUICK, QUICK, precision="int8", max_drop=0.5)
    with CostStore(home / "costs.db") as store:
        yield Workbench(tiny_zoo, target, store, settings, Silent(), photographs)


@pytest.fixture(scope="module")
def mixed(ort_bench: Workbench) -> Candidate:
    return ort_bench.candidates.make(MIXED)


def test_the_engine_that_is_measured_is_the_one_that_is_judged(
    ort_bench: Workbench, mixed: Candidate
) -> None:
    photographs, network = ort_bench.photographs, ort_bench.candidates.network(MIXED)

    with get_backend("ort").compile(mixed.model, ort_bench.target) as engine:
        images = inputs_of(network.preprocessing, photographs.choosing)
        answers = engine_answers(engine, images)

    own = answer(network, photographs.choosing)
    assert mixed.judged.int8 is not None
    assert mixed.judged.int8.cosine == pytest.approx(cosines(own, answers).min())
    assert not np.array_equal(own, answers)
    assert mixed.judged.calibration.images == len(photographs.choosing)
    assert mixed.judged.held_out.images == len(photographs.held_out)


def test_a_mixed_network_shares_the_weights_of_its_float_form(
    ort_bench: Workbench, mixed: Candidate
) -> None:
    in_float = ort_bench.candidates.make(FLOAT)

    assert mixed.weights == in_float.weights
    assert in_float.judged.int8 is None
    assert mixed.model.key != in_float.model.key
    assert mixed.model.weight_bytes < in_float.model.weight_bytes


def test_what_int8_costs_is_the_score_lost_to_the_float_form(
    ort_bench: Workbench, mixed: Candidate
) -> None:
    in_float = ort_bench.candidates.quality(FLOAT)

    assert mixed.judged.int8 is not None
    lost = in_float.calibration.score - mixed.judged.calibration.score
    assert mixed.judged.int8.drop == pytest.approx(lost)
    assert mixed.judged.int8.max_drop == 0.5
    assert mixed.judged.level == pytest.approx(in_float.level)


def test_a_mixed_network_is_read_back(
    ort_bench: Workbench, mixed: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler.candidates.export_mixed", None)

    assert ort_bench.candidates.quality(MIXED) == mixed.judged
    assert ort_bench.candidates.make(MIXED).model == mixed.model
    content = json.loads((ort_bench.candidates._folder(MIXED) / "quality.json").read_text())
    assert content["int8"]["cosine"] == mixed.judged.int8.cosine  # type: ignore[union-attr]


def test_kernels_prove_the_precision_of_every_piece(ort_bench: Workbench, mixed: Candidate) -> None:
    proofs = prove(mixed.model, MIXED, ort_bench.target)

    assert [(p.segment, p.start, p.end, p.asked) for p in proofs] == [
        (0, "input", "blocks.1.0", "fp32"),
        (1, "layer1.0", "layer2.0", "fp32"),
        (1, "layer2.0", "layer4.0", "int8"),
        (1, "layer4.0", "output", "fp32"),
    ]
    assert [p.integer for p in proofs] == [0.0, 0.0, 1.0, 0.0]
    assert all(p.kept for p in proofs)


def test_a_piece_that_runs_in_float_is_a_miss(ort_bench: Workbench) -> None:
    in_float = ort_bench.candidates.make(FLOAT)

    proofs = prove(in_float.model, MIXED, ort_bench.target)

    assert [p.kept for p in proofs] == [True, True, False, True]


@pytest.mark.parametrize(
    ("int8", "said"),
    [
        (Int8Judged(0.98, 0.0), "in int8 the least cosine of its logits is 0.9800, demanded: 0.99"),
        (Int8Judged(float("nan"), 0.0), "in int8 the least cosine of its logits is nan"),
        (Int8Judged(0.995, 0.03), "int8 costs it 3.0 points, asked for: at most 1"),
    ],
)
def test_a_network_that_misses_a_gate_is_not_kept(
    mixed: Candidate, int8: Int8Judged, said: str
) -> None:
    worse = replace(mixed, judged=replace(mixed.judged, int8=int8))

    assert not keeps(Budget(), worse)
    (fault,) = missed(Budget(), worse)
    assert fault.startswith(said)
    passing = replace(mixed, judged=replace(mixed.judged, int8=Int8Judged(0.99, 0.01)))
    assert keeps(Budget(), passing)


def test_all_that_can_be_is_in_int8_where_that_is_asked_for(ort_bench: Workbench) -> None:
    offers = ort_bench.int8_offers

    assert offers is not None
    assert offers.instead
    assert offers.considered == sum(len(d.blocks) for d in ort_bench._dissections)
    assert set(offers.blocks) <= {b.name for b in ort_bench.space.blocks.values()}
    assert all(offer.loss.integer >= 0.5 for offer in offers.blocks.values())
    assert all(offer.loss.weight_bytes < 0 for offer in offers.blocks.values())


def test_blocks_that_are_slower_in_int8_are_not_offered(
    ort_bench: Workbench, tmp_path: Path
) -> None:
    bench = ort_bench.int8
    known = bench._known()
    slow = known[0][0].name

    class Model:
        """All blocks but one are faster in int8."""

        def block(self, block: object, part: object = None) -> object:
            from compiler.latency_model import Interval

            quantized = part is not None
            us = 2.0 if quantized and block.name == slow else 1.0 if quantized else 1.5  # type: ignore[attr-defined]
            return Interval(us, us)

        def part(self, block: object) -> object:
            return bench.model.part(block)  # type: ignore[arg-type]

    offers = replace(bench, model=Model()).offers(False, Silent())  # type: ignore[arg-type]

    assert slow not in offers.blocks
    assert offers.slower == 1
    assert len(offers.blocks) == len(known) - 1
