"""Session: photographs and protocols as the options ask, and what must be said of them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from compiler.progress import Silent
from derycc.session import WHOLE_PROTOCOL, Options, _protocols, caution, labelled, open_photographs
from profilers.protocol import Protocol
from targets.errors import DataError, UsageError

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop


def test_photographs_are_halved(workshop: "Workshop") -> None:
    photographs = open_photographs(workshop.options(), Silent())

    both = {*photographs.calibration.paths, *photographs.held_out.paths}
    assert (len(photographs.calibration), len(photographs.held_out), len(both)) == (5, 5, 10)
    assert not labelled(photographs.held_out)


def test_photographs_to_judge_with_may_be_others(workshop: "Workshop") -> None:
    options = replace(workshop.options(), judge_data=workshop.labelled)

    photographs = open_photographs(options, Silent())

    assert (len(photographs.calibration), len(photographs.held_out)) == (10, 10)
    assert labelled(photographs.held_out)


def test_photographs_that_were_calibrated_with_do_not_judge(workshop: "Workshop") -> None:
    options = replace(workshop.options(), judge_data=workshop.plain)

    with pytest.raises(DataError, match=r"The photograph 0\.png is also there to calibrate with"):
        open_photographs(options, Silent())


def test_without_data_the_demo_photographs_are_fetched(
    workshop: "Workshop", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("derycc.session.fetch_images", lambda *_: workshop.plain)

    photographs = open_photographs(Options(Path("home")), Silent())

    assert photographs.calibration.root == workshop.plain


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(Path(), views=0), "Cannot use 0 views of a photograph. Use at least 1."),
        (Options(Path(), judge_data=Path("x")), "--judge-data needs --data"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: Options, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_photographs(options, Silent())


def test_few_photographs_are_too_few_for_a_claim() -> None:
    few: Any = SimpleNamespace(held_out=range(35))
    enough: Any = SimpleNamespace(held_out=range(1000))

    assert "35 held-out photographs (standard error about 7 points)" in str(caution(few))
    assert caution(enough) is None


def test_whole_networks_are_measured_longer_unless_quick() -> None:
    assert _protocols(quick=True) == (Protocol.quick(), Protocol.quick())
    assert _protocols(quick=False)[1] == WHOLE_PROTOCOL


@pytest.mark.parametrize("seconds", [float("nan"), -5.0, 0.0, float("inf")])
def test_a_time_limit_that_is_no_time_is_refused_before_anything_else(seconds: float) -> None:
    with pytest.raises(UsageError, match=r"time limit of .* s. Give seconds above 0"):
        Options(Path("nowhere"), budget_seconds=seconds)
