"""Zoo profiles: everything is measured once, and whole donors come out as measured."""

from pathlib import Path

import onnx
import pytest
import torch

from backends.reference import inference_seconds
from compiler.block_exports import BlockExports
from compiler.latency_model import total
from compiler.progress import Silent
from compiler.workbench import Workbench
from compiler.zoo_profile import ZooProfile
from profilers.store import CostStore
from targets.errors import UsageError
from targets.target import get_target


@pytest.fixture
def exports(bench: Workbench) -> BlockExports:
    """The bench's own, which have exported everything already."""
    _ = bench.table
    return bench.profile._exports


class Recording(Silent):
    """Remembers phases and notes."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.notes: list[str] = []

    def start(self, phase: str, total: int | None) -> None:
        self.phases.append((phase, total))

    def update(self, done: int, note: str = "") -> None:
        self.notes.append(note)


def test_everything_a_zoo_needs_is_wanted(bench: Workbench) -> None:
    progress = Recording()

    wanted = bench.profile.wanted(progress)

    assert list(wanted.donors) == [
        ("test_efficientnet.random", 64),
        ("test_resnet.random", 64),
    ]
    assert wanted.blocks == 6 + 5
    assert wanted.distinct_blocks == 11
    assert len(wanted.stitches) == 12
    assert progress.phases == [("cutting donors into blocks", 2)]
    assert progress.notes[0] == "test_efficientnet.random at 64 px"


def test_measuring_twice_measures_nothing_new(bench: Workbench) -> None:
    table = bench.table
    progress = Recording()

    again = bench.profile.measure(bench.wanted, None, progress)

    plan = bench.profile.plan(bench.wanted)
    assert again == table
    assert (plan.total, plan.to_measure) == (0, 0)
    assert progress.phases == []


def test_predictions_of_whole_donors_are_their_measurements(bench: Workbench) -> None:
    for name in bench.donors.names:
        dissection = bench.donors.dissection(name, 64)
        whole = bench.table.cost(bench.wanted.donors[name, 64].whole)

        predicted = total([bench.latency_model.block(block) for block in dissection.blocks])

        assert predicted.median_us == pytest.approx(whole.median_us, rel=1e-9)
        assert predicted.upper_us == pytest.approx(whole.upper_us, rel=1e-9)
        # Each block pays the reference clock's intercept of its own.
        assert 0.01 < bench.latency_model.additivity_error(name, 64) < 20.0


def test_the_stitch_model_predicts_stitches_that_were_not_measured(
    bench: Workbench, exports: BlockExports
) -> None:
    shape = bench.wanted.stitches[len(bench.wanted.stitches) // 2]
    seconds = inference_seconds(onnx.ModelProto.FromString(exports.stitch(shape).onnx))

    assert bench.latency_model.stitches.estimate(shape).median_us == pytest.approx(
        seconds * 1e6, rel=0.1
    )


def test_an_unmeasured_zoo_is_planned_and_not_measured(
    bench: Workbench, exports: BlockExports, tmp_path: Path
) -> None:
    with CostStore(tmp_path / "empty.db") as store:
        profile = ZooProfile(exports, get_target("reference"), store, (64,))

        plan = profile.plan(bench.wanted)

    assert plan.to_measure == plan.distinct == plan.total
    assert plan.total == bench.wanted.distinct_blocks + 2 + len(bench.wanted.stitches)
    assert plan.cached == 0


def test_blocks_that_could_not_be_measured_are_named_with_the_reason(
    bench: Workbench, exports: BlockExports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures = bench.wanted.donors[bench.donors.names[1], 64]
    failures = {next(iter(structures.blocks.values())): "the runtime is out of memory"}

    class Failed:
        pass

    Failed.failures = failures  # type: ignore[attr-defined]
    monkeypatch.setattr("compiler.zoo_profile.profile", lambda *_, **__: Failed)
    with CostStore(tmp_path / "empty.db") as store:
        profile = ZooProfile(exports, get_target("reference"), store, (64,))

        table = profile.measure(bench.wanted, None, Silent())

    with pytest.raises(UsageError, match="could not be measured: the runtime is out of memory"):
        table.cost(next(iter(failures)))


def test_blocks_are_measured_with_the_activations_of_a_photograph(
    bench: Workbench, exports: BlockExports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {}

    def measured(models: list, *_: object, inputs: object, **__: object) -> object:
        given.update({model.name: inputs(model) for model in models})  # type: ignore[operator]
        return bench.table

    monkeypatch.setattr("compiler.zoo_profile.profile", measured)
    image = torch.rand(1, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    with CostStore(tmp_path / "empty.db") as store:
        ZooProfile(exports, get_target("reference"), store, (64,)).measure(
            bench.wanted, image, Silent()
        )

    name = bench.donors.names[0]
    pixels = torch.nn.functional.interpolate(image, (64, 64), mode="bilinear")
    arrays = exports.activations(name, 64, pixels)
    block = bench.donors.dissection(name, 64).blocks[3].name
    stitch = next(key for key in given if key.startswith("stitch"))
    assert (given[block]["x"] == arrays[block]).all()
    assert (given[f"{name}@64"]["x"] == arrays[f"{name}@64"]).all()
    assert given[stitch]["x"].std() == pytest.approx(1.0, abs=0.2)
