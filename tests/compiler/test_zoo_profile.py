"""Zoo profiles: everything is measured once, and whole donors come out as measured."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import onnx
import pytest
import torch

from backends.reference import inference_seconds
from compiler.block_exports import BlockExports
from compiler.cache import Cache
from compiler.chains import exported_network, random_networks
from compiler.compatibility import PairRule
from compiler.donors import Donors
from compiler.latency_model import total
from compiler.parts import stitch_part
from compiler.progress import Silent
from compiler.stitching import StitchShape
from compiler.workbench import Workbench
from compiler.zoo import Zoo
from compiler.zoo_profile import ZooProfile
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.errors import UsageError
from targets.target import get_target

QUICK = Protocol(rounds=1, unit_seconds=1e-4, warmup_seconds=0, min_units=3, max_seconds=0.01)


@pytest.fixture
def exports(bench: Workbench) -> BlockExports:
    """The bench's own, which have exported everything already."""
    _ = bench.table
    return bench.profile._exports


def profile_of(exports: BlockExports, store: CostStore, folder: Path) -> ZooProfile:
    return ZooProfile(exports, Cache(folder), get_target("reference"), store, (64,), QUICK)


class Recording(Silent):
    """Remembers phases and notes."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.notes: list[str] = []

    def start(self, phase: str, total: int | None) -> None:
        self.phases.append((phase, total))

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
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


def test_predictions_of_whole_donors_are_close_to_their_measurements(bench: Workbench) -> None:
    for name in bench.donors.names:
        dissection = bench.donors.dissection(name, 64)
        whole = bench.table.cost(bench.wanted.donors[name, 64].whole)

        predicted = total([bench.latency_model.block(block) for block in dissection.blocks])

        assert predicted.median_us == pytest.approx(whole.median_us, rel=0.03)
        # Each block pays the reference clock's intercept of its own.
        assert 0.01 < bench.latency_model.additivity_error(name, 64) < 20.0


def test_networks_that_were_not_fitted_to_are_predicted(
    bench: Workbench, exports: BlockExports
) -> None:
    seen = bench.wanted.networks
    donors = [bench.donors.dissection(name, 64) for name in bench.donors.names]
    unseen = [n for n in random_networks(donors, PairRule(), 12, seed=7) if n not in seen]

    for network in unseen:
        proto = onnx.ModelProto.FromString(exported_network(network, exports).onnx)
        chain = bench.profile.parts.chain(network)
        predicted = bench.latency_model.predictor.predict(chain)

        assert predicted.median_us == pytest.approx(inference_seconds(proto) * 1e6, rel=0.1)
    assert len(unseen) >= 4


def test_the_stitch_model_predicts_stitches_that_were_not_measured(
    bench: Workbench, exports: BlockExports
) -> None:
    (estimate,) = [bench.latency_model.predictor.alone.estimates["stitch"]]
    shape = StitchShape((20, 8, 8), (28, 8, 8))
    seconds = inference_seconds(onnx.ModelProto.FromString(exports.stitch(shape).onnx))

    assert shape not in bench.wanted.stitches
    assert estimate.estimate(stitch_part(shape)).median_us == pytest.approx(seconds * 1e6, rel=0.1)


def test_an_unmeasured_zoo_is_planned_and_not_measured(
    bench: Workbench, exports: BlockExports, tmp_path: Path
) -> None:
    with CostStore(tmp_path / "empty.db") as store:
        plan = profile_of(exports, store, tmp_path).plan(bench.wanted, budget_seconds=2.0)

    assert plan.to_measure == plan.distinct == plan.total == len(bench.wanted.keys)
    assert plan.cached == 0
    assert plan.fits is not None
    assert plan.fits < plan.total


def test_blocks_that_could_not_be_measured_are_named_and_estimated(
    bench: Workbench, exports: BlockExports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = bench.wanted.donors[bench.donors.names[1], 64]
    failed = parts.chain[0].key

    class Failed:
        failures: ClassVar = {failed: "the runtime is out of memory"}
        unmeasured = ()

    monkeypatch.setattr("compiler.zoo_profile.profile", lambda *_, **__: Failed)
    with CostStore(tmp_path / "empty.db") as store:
        table = profile_of(exports, store, tmp_path).measure(bench.wanted, None, Silent())

    with pytest.raises(UsageError, match="could not be measured: the runtime is out of memory"):
        table.cost(failed)
    costs = {key: cost for key, cost in bench.table.costs.items() if key != failed}
    rest = replace(bench.table, costs=costs, failures=Failed.failures)
    model = bench.profile.latency_model(bench.wanted, rest)
    dissection = bench.donors.dissection(bench.donors.names[1], 64)
    assert model.block(dissection.blocks[0]).median_us > 0


def test_where_time_is_short_a_few_of_each_kind_and_then_whole_networks_come_first(
    bench: Workbench,
) -> None:
    wanted = bench.wanted
    priority = wanted.priority

    first_of_all = [key for key, value in priority.items() if value == max(priority.values())]
    others = {key: value for key, value in priority.items() if key not in first_of_all}
    first = [priority[key] for key in wanted.networks.values()]
    wholes = [priority[donor.whole] for donor in wanted.donors.values()]
    stitches = [others[key] for key in wanted.stitches.values() if key in others]
    parts = [part for donor in wanted.donors.values() for part in donor.chain]
    blocks = [others[part.key] for part in parts if part.key in others]
    assert len(first_of_all) == len(parts) - len(blocks) + 5 == 15
    assert min(first) > max(wholes) >= min(wholes) > max(stitches)
    assert min(stitches) > max(blocks)


def test_with_no_time_at_all_something_is_measured_and_the_rest_is_named(
    bench: Workbench, exports: BlockExports, tmp_path: Path
) -> None:
    with CostStore(tmp_path / "short.db") as store:
        measured = profile_of(exports, store, tmp_path)

        table = measured.measure(bench.wanted, None, Silent(), budget_seconds=1e-3)

    assert set(table.unmeasured) | set(table.costs) == bench.wanted.keys
    assert table.unmeasured


def test_donors_of_one_architecture_are_observed_once(
    tmp_path: Path, tiny_zoo: Zoo, bench: Workbench
) -> None:
    """Twins share every structure; counted twice, each would be foretold by the other."""
    model = tiny_zoo.models[1]
    twins = Zoo((*tiny_zoo.models, replace(model, name="twin.random")))
    exports = BlockExports(Donors(twins), Cache(tmp_path))
    with CostStore(tmp_path / "twins.db") as store:
        profile = profile_of(exports, store, tmp_path)
        wanted = profile.wanted(Silent())

        table = profile.measure(wanted, None, Silent())
        left_out = profile.predictor(wanted, table).left_out

    wholes = [one.name for one in left_out if "@64" in one.name and "+" not in one.name]
    assert len(wanted.donors) == 3
    assert wholes == [f"{model.name}@64" for model in tiny_zoo.models]


def test_little_time_still_gives_a_latency_model(
    bench: Workbench, exports: BlockExports, tmp_path: Path
) -> None:
    """With blocks alone, and with nothing: what is not known is estimated or left out."""
    key = next(iter(bench.wanted.donors.values())).chain[0].key
    for costs in ({}, {key: bench.table.cost(key)}):
        rest = replace(bench.table, costs=costs)

        model = bench.profile.latency_model(bench.wanted, rest)

        assert model.predictor.left_out == ()
        assert model.wholes == {}


def test_int8_variants_are_wanted_where_the_target_has_int8(
    bench: Workbench, exports: BlockExports, tmp_path: Path
) -> None:
    target = get_target("reference:precisions=fp32+int8")
    with CostStore(tmp_path / "int8.db") as store:
        profile = ZooProfile(exports, Cache(tmp_path), target, store, (64,), QUICK)
        wanted = profile.wanted(Silent())

        missing = profile._wishes.missing(wanted, bench.wanted.keys)

    assert bench.wanted.int8 == {}
    assert wanted.keys > bench.wanted.keys
    assert {model.structure for model in missing} == wanted.keys - bench.wanted.keys
    assert all(model.name.endswith(" int8") for model in missing)


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
        profile_of(exports, store, tmp_path).measure(bench.wanted, image, Silent())

    name = bench.donors.names[0]
    pixels = torch.nn.functional.interpolate(image, (64, 64), mode="bilinear")
    arrays = exports.activations(name, 64, pixels)
    block = bench.donors.dissection(name, 64).blocks[3].name
    stitch = next(key for key in given if key.startswith("stitch"))
    assert (given[block]["x"] == arrays[block]).all()
    assert (given[f"{name}@64"]["x"] == arrays[f"{name}@64"]).all()
    assert given[stitch]["x"].std() == pytest.approx(1.0, abs=0.2)
