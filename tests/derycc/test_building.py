"""Building: the choice is measured anew, and a budget that is missed is said."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compiler.assembly import Assembly
from compiler.candidates import Candidate
from compiler.certificate import Certificate, Standing
from compiler.dery_bench import DerySettings
from compiler.effort import Effort
from compiler.judged import Judged
from compiler.kept import keeps
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.progress import Silent
from compiler.quality import Quality
from compiler.searched import Searched, certified
from compiler.trial import Trial
from compiler.verification import Verification
from compiler.workbench import Workbench
from derycc import building
from derycc.building import Request, budget_us, build, limits, out_folder
from profilers.measurement import Measurement
from targets.budget import Budget
from targets.errors import BudgetMissedError, UnknownNameError, UsageError, VerificationError

GOOD = Verification(5, 1.0, 0.0, 1.0, True)


def candidate(name: str, us: float, quality: float) -> Candidate:
    measured = Measurement("key", name, ((us * 1e-6,) * 3,), (0.0,), False)
    judged = Quality(5, quality, None, quality)
    return Candidate(Blueprint.pure(name, 64), None, Path(), Judged(judged, judged), measured)  # type: ignore[arg-type]


def trial(name: str, us: float, quality: float, budget: float = 1000.0) -> Trial:
    made = candidate(name, us, quality)
    answer = Assembly("optimal", (name,), quality, quality, 0.0, (), 0.0, "solver", 0)
    return Trial(answer, Interval(us, us), quality, made, us <= budget, 0)


class Pretended:
    """A bench whose networks take `anew` microseconds when they are measured again."""

    progress = Silent()
    target = "here"
    elsewhere = ()

    def __init__(self, found: tuple[Trial, ...], anew: dict[str, float]) -> None:
        self.found = found
        self.anew = anew
        self.searches: list[tuple[Trial, ...]] = []
        self.forgotten = False

    @property
    def everywhere(self) -> "tuple[Pretended, ...]":
        return (self,)

    def belief(self) -> None:
        return None

    def loop(self, _: object) -> "Pretended":
        return self

    def search(self, _: object, effort: Effort, before: tuple[Trial, ...] = ()) -> Searched:
        self.searches.append(before)
        return Searched(before or self.found, "candidates")

    def confirm(self, trial: Trial, limits: Budget) -> Trial:
        name = trial.candidate.blueprint.segments[0].model
        made = candidate(name, self.anew[name], 0.5)
        us = made.latency.upper_us
        score = None if trial.score is None else -us
        return replace(
            trial,
            candidate=made,
            within=keeps(limits, made),
            first=trial.candidate.latency,
            score=score,
        )

    def certificate(self, found: Searched, best: Trial, limits: Budget) -> Certificate:
        stands = Standing("quality", 0.5, 0.6, "optimal", 0.0, 0.0)
        return certified(found, best, stands, limits)

    def forget(self) -> None:
        self.forgotten = True


@pytest.fixture
def all_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "verified", lambda *_: GOOD)


@pytest.mark.usefixtures("all_verified")
def test_the_best_that_keeps_the_budget_a_second_time_is_built() -> None:
    found = (trial("best", 900.0, 0.9), trial("second", 800.0, 0.8))
    bench: Any = Pretended(found, {"best": 1100.0, "second": 810.0})

    built = build(Request("1ms"), bench)

    assert built.candidate.blueprint == Blueprint.pure("second", 64)
    assert built.candidate.latency.median_us == pytest.approx(810.0)
    assert [one.within for one in built.trials] == [True, False]
    assert [len(before) for before in bench.searches] == [0, 2]
    assert (built.certificate.withdrawn, built.certificate.measured) == (1, 2)
    assert built.certificate.met.upper_us == pytest.approx(810.0)
    assert not bench.forgotten
    assert built.choice is not None
    assert (built.choice.score, built.choice.value) == ("quality", built.trial.quality)


@pytest.mark.usefixtures("all_verified")
def test_where_another_is_the_fastest_once_measured_anew_that_one_is_measured_anew_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(building, "limits", lambda *_: Budget(min_quality=0.5))
    found = tuple(
        replace(trial(name, us, 0.5), score=-us)
        for name, us in (("lucky", 700.0), ("steady", 800.0), ("slow", 950.0))
    )
    bench: Any = Pretended(found, {"lucky": 900.0, "steady": 810.0, "slow": 950.0})

    built = build(Request(None, Budget(min_quality=0.5)), bench)

    assert built.candidate.blueprint == Blueprint.pure("steady", 64)
    assert [one.first is not None for one in built.trials] == [True, True, False]
    assert built.certificate.withdrawn == 0


def test_a_budget_that_nothing_keeps_when_measured_is_missed() -> None:
    bench: Any = Pretended((trial("only", 900.0, 0.9),), {"only": 1100.0})

    with pytest.raises(BudgetMissedError) as missed:
        build(Request("1ms"), bench)

    assert str(missed.value) == (
        "None of the networks that were built (1) keeps 1 ms when it is measured. The closest "
        "takes 1.1 ms, 1.1 ms at the upper end of its 95 % interval: "
        "64px only[input..output]. Ask for that much, try more --candidates, or measure on a "
        "quieter machine."
    )
    assert [len(before) for before in bench.searches] == [0, 1]
    assert bench.forgotten


def test_a_missed_budget_names_what_else_was_built() -> None:
    found = tuple(trial(f"n{i}", 900.0 + i, 0.9) for i in range(6))
    bench: Any = Pretended(found, {f"n{i}": 1100.0 + i for i in range(6)})

    with pytest.raises(BudgetMissedError) as missed:
        build(Request("1ms"), bench)

    said = str(missed.value)
    assert "The closest takes 1.1 ms" in said
    others = said.partition(" Also built, upper ends: ")[2]
    assert others.count("predicted") == 3
    assert others.endswith(", and 2 more.")


def test_an_engine_that_differs_is_not_published(
    desk: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "verify", lambda *_: replace(GOOD, cosine=0.5, repeatable=False))
    made = desk.candidates.make(Blueprint.pure("test_resnet.random", 64))

    with pytest.raises(VerificationError, match=r"least cosine of the logits is 0\.500000") as bad:
        building.verified(made, desk)

    assert "a second run gave another answer. Nothing was published." in str(bad.value)


def test_a_share_counts_from_the_donor_at_its_own_size(desk: Workbench) -> None:
    whole = desk.candidates.make(Blueprint.pure("test_resnet.random", 160)).latency.median_us

    assert budget_us("50% of test_resnet", desk) == pytest.approx(whole / 2)
    with pytest.raises(UnknownNameError):
        budget_us("50% of nothing", desk)


def test_a_share_of_a_profiled_donor_measures_nothing_more(desk: Workbench) -> None:
    share = SimpleNamespace(share=0.5, model="donor")
    model = SimpleNamespace(name="donor", preprocessing=SimpleNamespace(input_size=64))
    bench: Any = SimpleNamespace(
        zoo=SimpleNamespace(find=lambda _: model),
        wanted=SimpleNamespace(donors={("donor", 64): None}),
        latency_model=SimpleNamespace(wholes={("donor", 64): Interval(200.0, 220.0)}),
    )

    assert building._share_us(share, bench) == 100.0  # type: ignore[arg-type]


def test_limits_are_the_requests(desk: Workbench) -> None:
    bounds = limits(Request("2ms", Budget(stitches=1, params=5_000_000, macs=300)), desk)

    assert (bounds.latency_us, bounds.stitches, bounds.params) == (2000.0, 1, 5_000_000)


def test_a_build_without_a_folder_goes_under_the_home(desk: Workbench, tmp_path: Path) -> None:
    request = Request("75% of net")

    assert out_folder(None, request, tmp_path, desk) == (
        tmp_path / "builds" / "reference-75-of-net"
    )
    assert out_folder(tmp_path / "here", request, tmp_path, desk) == tmp_path / "here"


def test_a_limit_but_latency_that_nothing_keeps_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heavy = replace(trial("only", 900.0, 0.9), within=True)
    bench: Any = Pretended((heavy,), {"only": 900.0})
    monkeypatch.setattr(building, "limits", lambda *_: Budget(1000.0, min_quality=0.6))

    with pytest.raises(BudgetMissedError) as missed:
        build(Request("1ms"), bench)

    assert str(missed.value) == (
        "None of the networks that were built (1) keeps the limits when it is measured. The "
        "closest is 64px only[input..output]: its quality is 50.0 %, asked for: 60 %. Ask for that "
        "much, or try more --candidates."
    )


def test_dery_mode_and_a_least_quality_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="Leave one of the two out"):
        Request("1ms", Budget(min_quality=0.5), dery=DerySettings())


def test_a_folder_is_named_after_every_limit(desk: Workbench, tmp_path: Path) -> None:
    budget = Budget(stitches=2, params=5, memory_bytes=50_000_000, required=("net.a",))

    folder = out_folder(None, Request("2ms", budget, licences=("GPL",)), tmp_path, desk)

    assert folder.name == ("reference-2ms-5-params-peak-memory-50-MB-with-net.a-no-licence-GPL")


class PretendedInInt8(Pretended):
    """One whose networks are measured again as they were at first."""

    def confirm(self, trial: Trial, limits: Budget) -> Trial:
        return replace(trial, first=trial.candidate.latency)

    def reject(self, trial: Trial) -> Trial:
        return replace(trial, within=False)


def in_int8(one: Trial) -> Trial:
    blueprint = one.candidate.blueprint.with_int8([(0, "input", "output")])
    return replace(one, candidate=replace(one.candidate, design=blueprint))


def verified_in_float(made: Candidate, _: object) -> Verification:
    if made.blueprint.quantized:
        raise VerificationError("int8 costs it 5.7 points")
    return GOOD


def test_a_network_that_loses_too_much_in_int8_makes_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "verified", verified_in_float)
    found = (in_int8(trial("best", 700.0, 0.9)), trial("second", 800.0, 0.8))
    bench: Any = PretendedInInt8(found, {})

    built = build(Request("1ms"), bench)

    assert built.candidate.blueprint == Blueprint.pure("second", 64)
    assert [one.within for one in built.trials] == [True, False]
    assert [len(before) for before in bench.searches] == [0, 2]


def test_where_all_lose_too_much_in_int8_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(building, "verified", verified_in_float)
    bench: Any = PretendedInInt8((in_int8(trial("best", 700.0, 0.9)),), {})
    bench.settings = SimpleNamespace(precision="int8")

    with pytest.raises(VerificationError, match="int8 costs it"):
        build(Request("1ms"), bench)

    assert bench.forgotten


def test_an_engine_in_float_that_fails_ends_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Verification:
        raise VerificationError("another answer")

    monkeypatch.setattr(building, "verified", fails)
    bench: Any = PretendedInInt8((trial("best", 700.0, 0.9),), {})

    with pytest.raises(VerificationError, match="another answer"):
        build(Request("1ms"), bench)
