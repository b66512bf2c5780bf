"""Checking: a finished build is measured again, and compared with its budget."""

import pytest

from derycc.checking import Benched
from derycc.manifest import Manifest
from profilers.measurement import Measurement
from targets.errors import BudgetMissedError


def measured(us: float, samples: int = 9) -> Measurement:
    return Measurement("key", "name", ((us * 1e-6,) * samples,), (0.0,), False)


def test_a_new_measurement_is_compared_with_the_budget(papers: Manifest) -> None:
    benched = Benched(papers, measured(1100.0), "reference")

    assert benched.lines()[0] == "budget    1.20 ms"
    assert benched.lines()[2] == (
        "measured  1.10 ms (1.10 ms to 1.10 ms), p90 1.10 ms, p99 1.10 ms"
    )
    benched.require()


def test_a_noisy_measurement_that_misses_the_budget_says_both(papers: Manifest) -> None:
    samples = ((1.0e-3,) * 5 + (2.0e-3,) * 5,)
    benched = Benched(papers, Measurement("key", "name", samples, (0.0,), True), "reference")

    assert benched.lines()[2].endswith(", noisy")
    with pytest.raises(BudgetMissedError, match=r"The build takes 2\.00 ms at the upper end"):
        benched.require()
