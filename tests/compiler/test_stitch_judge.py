"""Stitch judge: networks of one stitch are really built, kept, and believed later."""

import pytest

from compiler.belief import Belief
from compiler.drop_model import DropModel
from compiler.path_score import promised
from compiler.single_stitches import sample, single_stitch
from compiler.stitch_features import StitchFeatures
from compiler.stitch_judge import JudgedNetwork, StitchJudge
from compiler.workbench import Workbench
from targets.errors import UsageError
from tests.compiler.stitch_cases import network, observed, stitch


@pytest.fixture(scope="module")
def fresh(bench: Workbench) -> Workbench:
    """The same workbench before anything was judged in it."""
    bench.judged_stitches.path.unlink(missing_ok=True)
    return bench


@pytest.fixture(scope="module")
def judged(fresh: Workbench) -> tuple[JudgedNetwork, ...]:
    before = fresh.belief()
    assert (before.drops, before.observations) == (DropModel.fit([]), {})
    return fresh.stitch_judge.judge(3)


def test_what_was_promised_and_measured_is_noted(
    bench: Workbench, judged: tuple[JudgedNetwork, ...]
) -> None:
    quality = {key: found.score for key, found in bench.judged_donors.items()}

    for option, one in zip(sample(bench.options, 3), judged, strict=True):
        assert one.network == single_stitch(option)
        assert one.seen.stitches == (StitchFeatures.of(option),)
        assert one.seen.promised == pytest.approx(promised([option], quality))
        assert one.seen.measured == bench.candidates.quality(one.network).score


def test_later_builds_believe_it(bench: Workbench, judged: tuple[JudgedNetwork, ...]) -> None:
    belief = bench.belief()

    seen = {one.network: one.seen for one in judged}
    assert belief.observations == seen
    assert belief.drops == DropModel.fit([seen[key] for key in sorted(seen, key=str)])
    assert belief.residuals == {}
    assert bench.belief() == belief


def test_a_second_run_adds_to_the_first(
    bench: Workbench, judged: tuple[JudgedNetwork, ...]
) -> None:
    more = bench.stitch_judge.judge(4)

    assert more[:3] == judged
    assert set(bench.judged_stitches.read()) == {one.network for one in more}


def test_a_zoo_without_stitches_has_nothing_to_judge(bench: Workbench) -> None:
    judge = StitchJudge((), {}, bench.candidates, bench.judged_stitches, bench.progress)

    with pytest.raises(UsageError, match="These donors have no stitch on offer"):
        judge.judge(3)


def test_a_belief_starts_from_the_drops_it_is_given() -> None:
    seen = {network(i): observed(0.1 * i, stitch(0.2 * i)) for i in range(4)}

    belief = Belief.seeded(seen)

    assert belief.drops == DropModel.fit(list(seen.values()))
    assert belief.now.drops == belief.drops
    assert belief.observations == seen
