"""Candidates: built the same every time, read back from the cache, judged on both sets."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backends.registry import get_backend
from compiler import candidates
from compiler.answers import answer
from compiler.cache import Cache
from compiler.candidates import Candidate, Candidates, Photographs
from compiler.images import ImageSet
from compiler.network import Blueprint, Segment
from compiler.workbench import Workbench
from profilers.cost_table import CostTable
from profilers.profile import profile
from targets.errors import DataError, UnknownNameError
from targets.target import get_target

EFFICIENT, RESIDUAL = "test_efficientnet.random", "test_resnet.random"
MIXED = Blueprint(
    64, (Segment(EFFICIENT, "input", "blocks.1.0"), Segment(RESIDUAL, "layer1.0", "output"))
)


def candidates_in(folder: Path, bench: Workbench, photographs: Photographs) -> Candidates:
    protocol = bench.settings.whole_protocol
    return Candidates(
        bench.donors, photographs, Cache(folder), bench.target, bench.store, protocol, RESIDUAL
    )


@pytest.fixture(scope="module")
def candidate(bench: Workbench) -> Candidate:
    return bench.candidates.make(MIXED)


def test_a_network_built_twice_is_the_same(
    bench: Workbench, candidate: Candidate, tmp_path: Path, photographs: Photographs
) -> None:
    again = candidates_in(tmp_path, bench, photographs).make(MIXED)

    assert again.model.key == candidate.model.key
    assert again.weights != candidate.weights
    assert again.weights.read_bytes() == candidate.weights.read_bytes()
    assert again.judged == candidate.judged
    assert again.latency == candidate.latency


def test_a_built_network_is_read_back(
    bench: Workbench,
    candidate: Candidate,
    monkeypatch: pytest.MonkeyPatch,
    photographs: Photographs,
) -> None:
    monkeypatch.setattr("compiler.candidates.build_design", None)
    monkeypatch.setattr("compiler.candidates.build_tuned", None)

    later = candidates_in(bench.candidates._cache.folder, bench, photographs)

    assert later.make(MIXED) == candidate
    assert later.quality(MIXED) == candidate.judged


def test_the_emitted_network_is_the_one_that_was_judged(
    bench: Workbench, candidate: Candidate
) -> None:
    network = bench.candidates.network(MIXED)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    with get_backend("ort").compile(candidate.model, get_target("cpu")) as engine:
        logits = engine.run({"image": x.numpy()})["logits"]

    expected = network(x).numpy()
    assert logits == pytest.approx(expected, rel=1e-3, abs=1e-4 * float(np.abs(expected).max()))
    assert candidate.model.name == str(MIXED)


def test_agreement_is_counted_with_the_reference_at_its_own_size(
    bench: Workbench, candidate: Candidate, photographs: Photographs
) -> None:
    reference = bench.donors.model(RESIDUAL)
    network = bench.candidates.network(MIXED)

    ours = answer(network, photographs.held_out).argmax(1)

    pixels = [
        reference.preprocessing.transform(photographs.held_out.load(i))
        for i in range(len(photographs.held_out))
    ]
    theirs = bench.donors.module(RESIDUAL)(torch.stack(pixels)).argmax(1).numpy()
    assert candidate.judged.held_out.agreement == float((ours == theirs).mean())
    assert candidate.judged.held_out.images == 4
    assert candidate.judged.calibration.images == len(photographs.choosing)
    assert candidate.judged.calibration.top1 is None


def test_a_fresh_measurement_replaces_the_stored_one(
    bench: Workbench, candidate: Candidate
) -> None:
    again = bench.candidates.make(MIXED, fresh=True)

    assert again.latency.key == candidate.latency.key
    assert again.latency.median_us == pytest.approx(candidate.latency.median_us)


def test_every_choice_is_measured_anew_for_itself(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh: list[bool] = []

    def noted(*models: Any, **options: Any) -> CostTable:
        fresh.append(options["fresh"])
        return profile(*models, **options)

    monkeypatch.setattr(candidates, "profile", noted)

    for _ in range(2):
        bench.candidates.confirm(MIXED)

    assert fresh.count(True) >= 2


def test_labels_are_judged_where_there_are_any(
    bench: Workbench, pictures: ImageSet, tmp_path: Path
) -> None:
    photographs = Photographs(*pictures.split(0.5), 1)

    judged = candidates_in(tmp_path, bench, photographs).quality(Blueprint.pure(EFFICIENT, 64))

    assert judged.held_out.score == judged.held_out.top1
    assert judged.calibration.top1 is not None
    assert judged.calibration.score == judged.calibration.top1


def test_a_stitched_network_is_put_on_a_level_with_its_donors(
    bench: Workbench, candidate: Candidate, photographs: Photographs
) -> None:
    whole, part = [], []
    for name in MIXED.donors:
        pure = Blueprint.pure(name, MIXED.input_size)
        whole.append(bench.candidates.quality(pure).calibration.score)
        network = bench.candidates.network(pure)
        choosing = photographs.choosing
        part.append(bench.candidates._quality(network, "choosing", choosing).score)

    assert sum(part) > 0
    assert candidate.judged.level == pytest.approx(sum(whole) / sum(part))
    assert bench.candidates.quality(Blueprint.pure(EFFICIENT, 64)).level == 1.0


def test_files_of_before_levels_are_read(bench: Workbench, candidate: Candidate) -> None:
    path = bench.candidates._folder(MIXED) / "quality.json"
    now = path.read_text()
    content = json.loads(now)
    del content["level"]
    try:
        path.write_text(json.dumps({**content, "handicap": 0.25}))

        assert bench.candidates.quality(MIXED) == candidate.judged
    finally:
        path.write_text(now)


def test_what_is_fitted_to_does_not_choose(photographs: Photographs) -> None:
    fitting, choosing = photographs.fitting, photographs.choosing

    assert set(fitting.paths).isdisjoint(choosing.paths)
    assert {*fitting.paths, *choosing.paths} == set(photographs.calibration.paths)


def test_a_photograph_that_calibrates_cannot_judge(pictures: ImageSet) -> None:
    first, rest = pictures.subset([0, 1]), pictures.subset([1, 2])

    with pytest.raises(DataError, match="is also there to calibrate with") as caught:
        Photographs(first, rest)

    assert pictures.paths[1] in str(caught.value)


def test_other_pictures_views_reference_or_preprocessing_make_another_network(
    bench: Workbench, photographs: Photographs, tmp_path: Path
) -> None:
    base = candidates_in(tmp_path, bench, photographs)
    swapped = Photographs(photographs.held_out, photographs.calibration, 2)
    more = dataclasses.replace(photographs, views_per_image=3)
    other = Candidates(
        bench.donors,
        photographs,
        Cache(tmp_path),
        bench.target,
        bench.store,
        bench.settings.protocol,
        EFFICIENT,
    )

    folders = {c._folder(MIXED) for c in (base, candidates_in(tmp_path, bench, photographs))}
    others = {
        c._folder(MIXED) for c in (candidates_in(tmp_path, bench, p) for p in (swapped, more))
    } | {other._folder(MIXED), base._folder(Blueprint.pure(EFFICIENT, 64))}

    assert len(folders) == 1
    assert len(folders | others) == 5


def test_the_reference_is_a_donor_by_its_full_name(
    bench: Workbench, photographs: Photographs, tmp_path: Path
) -> None:
    assert candidates_in(tmp_path, bench, photographs).reference == RESIDUAL
    with pytest.raises(UnknownNameError):
        Candidates(
            bench.donors,
            photographs,
            Cache(tmp_path),
            bench.target,
            bench.store,
            bench.settings.protocol,
            "resnet50",
        )
