"""Workbench: every step is made once, and what was made before is read back."""

from dataclasses import replace
from pathlib import Path

import pytest

from compiler.assembly import assemble
from compiler.belief import Belief
from compiler.candidates import Photographs
from compiler.closed_loop import ClosedLoop
from compiler.compatibility import PairRule
from compiler.progress import Silent
from compiler.search_space import option_id
from compiler.workbench import Settings, Workbench
from compiler.zoo import Zoo, open_zoo
from profilers.protocol import Protocol
from profilers.store import CostStore
from targets.budget import Budget
from targets.errors import DataError
from targets.target import get_target


def reopened(bench: Workbench, photographs: Photographs | None = None) -> Workbench:
    return Workbench(bench.zoo, bench.target, bench.store, bench.settings, Silent(), photographs)


def test_settings_have_defaults_that_measure_whole_networks_longer() -> None:
    settings = Settings(Path("home"), (224,))

    assert settings.protocol == Protocol()
    assert settings.whole_protocol == Protocol(max_seconds=0.6)
    assert settings.rule == PairRule()


def test_the_reference_is_the_largest_where_no_accuracy_is_published(bench: Workbench) -> None:
    assert bench.reference == "test_resnet.random"


def test_donors_are_judged_once_at_every_size(bench: Workbench) -> None:
    judged = bench.judged_donors

    assert list(judged) == [(name, 64) for name in bench.donors.names]
    assert all(0.0 <= one.calibration.score <= 1.0 for one in judged.values())
    assert bench.judged_donors is judged


def test_stitch_options_are_read_back_equal(
    bench: Workbench, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = bench.options
    monkeypatch.setattr("compiler.workbench.stitch_options", None)

    again = reopened(bench, photographs).options

    assert options
    assert again == options
    assert {option.size for option in options} == {64}
    assert all(bench.settings.rule.allows(o.source, o.target) for o in options)


def test_no_order_of_donors_changes_stitches_or_the_solver_s_answer(
    bench: Workbench, photographs: Photographs, tmp_path: Path
) -> None:
    zoo = Zoo(bench.zoo.models[::-1])
    settings = replace(bench.settings, home=tmp_path)
    turned = Workbench(zoo, bench.target, bench.store, settings, Silent(), photographs)
    budget = Budget(latency_us=1200.0, stitches=1)

    answers = [assemble(one.loop(one.belief()).problem(budget)) for one in (bench, turned)]

    assert turned.reference == bench.reference
    assert {option_id(o): o for o in turned.options} == {option_id(o): o for o in bench.options}
    assert answers[0].found
    assert answers[0].arcs == answers[1].arcs


def test_the_space_has_every_block_and_every_option(bench: Workbench) -> None:
    steps = bench.space._steps

    assert sum(">" in name for name in steps) == len(bench.options)
    assert sum(">" not in name and "^" not in name for name in steps) == 6 + 5
    assert isinstance(bench.loop(Belief()), ClosedLoop)


def test_a_step_that_needs_photographs_says_so(bench: Workbench) -> None:
    with pytest.raises(DataError) as caught:
        _ = reopened(bench).judged_donors

    assert str(caught.value) == (
        "This step needs photographs and none were given. Name some by --data."
    )


def test_costs_need_no_photographs(bench: Workbench) -> None:
    measured = bench.table

    assert reopened(bench).table == measured


def test_a_zoo_of_one_donor_has_no_stitches_and_works(
    tmp_path: Path, photographs: Photographs
) -> None:
    zoo = open_zoo(tmp_path, "random:resnet10t")
    quick = Protocol(rounds=1, unit_seconds=1e-4, warmup_seconds=0, min_units=3, max_seconds=0.01)
    with CostStore(tmp_path / "costs.db") as store:
        settings = Settings(tmp_path, (32,), quick, quick)
        bench = Workbench(zoo, get_target("reference"), store, settings, Silent(), photographs)

        model = bench.latency_model

        assert bench.options == ()
        assert "stitch" not in model.predictor.alone.estimates
        assert bench.wanted.networks == {}
        assert list(model.wholes) == [("resnet10t.random", 32)]
