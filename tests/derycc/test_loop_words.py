"""Words of a search: what is proven is said with its numbers, and what is not is said as well."""

from dataclasses import replace
from typing import Any

import pytest

from compiler.certificate import Certificate, Met, Standing
from derycc.loop_words import (
    ROUND_COLUMNS,
    certificate_cell,
    certificate_lines,
    learned,
    round_rows,
)
from derycc.manifest import Manifest
from derycc.manifest_loop import Again

MET = Met(10_000.0, 9_500.0, 9_800.0, 120, None)


def certificate(
    promised: float | None, proof: Any = "optimal", goal: Any = "quality", reached: Any = 0.8
) -> Certificate:
    error = 0.05 if goal == "quality" else 0.0
    stands = Standing(goal, reached, promised, proof, error, 0.0)
    return Certificate.of(stands, "candidates", MET, 7, 0)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            certificate(0.75),
            "Certificate: strict. No network that was not measured is promised to be better than "
            "this one's 80.0 % quality: the best promise is 75.0 % (proven).",
        ),
        (
            certificate(0.85, "feasible"),
            "Certificate: within interval. Networks that were not measured are promised up to "
            "85.0 % (a bound, which no network need reach); this one's measured quality is 80.0 %. "
            "The difference of 5.0 % is no more than the interval of such a promise, 9.8 %.",
        ),
        (
            certificate(0.95),
            "Certificate: none. Networks that were not measured are promised up to 95.0 % "
            "(proven); this one's measured quality is 80.0 %. The difference of 15.0 % is more "
            "than the interval of such a promise, 9.8 %.",
        ),
        (
            certificate(None, "infeasible"),
            "Certificate: strict. No other network is predicted to be within the limits.",
        ),
        (
            certificate(None, "unknown"),
            "Certificate: none. Nothing is proven of the networks that were not measured.",
        ),
        (
            certificate(9000.0, goal="latency_us", reached=8500.0),
            "Certificate: strict. No network that was not measured is promised to be better than "
            "this one's 8.50 ms latency (upper end): the best promise is 9.00 ms (proven).",
        ),
        (
            certificate(None, "infeasible", goal="score", reached=3.5),
            "Certificate: strict. No other network is predicted to be within the limits and to "
            "have a finite score.",
        ),
        (
            certificate(3.0, goal="score", reached=None),
            "Certificate: none. Networks that were not measured are promised up to 3; this one's "
            "score is not finite, which is worse than any other.",
        ),
        (
            certificate(3.0, goal="score", reached=3.5),
            "Certificate: strict. No network that was not measured is promised to be better than "
            "this one's 3.5 score: the best promise is 3 (proven).",
        ),
    ],
)
def test_a_certificate_is_said_with_its_numbers(made: Certificate, said: str) -> None:
    assert certificate_lines(made)[0] == said


def test_the_measurement_and_the_end_are_said() -> None:
    noisy = replace(certificate(0.75), met=replace(MET, noise="time ran out"), withdrawn=2)
    free = replace(noisy, met=replace(MET, budget_us=None))

    assert certificate_lines(noisy)[1:] == [
        "The budget of 10.00 ms is met by measurement: 9.80 ms at the upper end (median 9.50 ms, "
        "120 samples, taken anew after the choice). That measurement is noisy: time ran out.",
        "The search ended after 7 measured networks: as many candidates were built as were asked "
        "for (--candidates). 2 of them kept the limits at first and not when measured anew.",
    ]
    assert certificate_lines(free)[1].startswith("Measured latency: 9.80 ms at the upper end")


def test_a_cell_says_what_else_is_promised() -> None:
    assert certificate_cell(certificate(0.75)) == "strict"
    assert certificate_cell(certificate(0.85)) == "within interval (+5.0 %)"
    assert certificate_cell(certificate(None, "unknown")) == "none"


def test_every_candidate_is_a_row(papers: Manifest) -> None:
    rows = round_rows(papers.rounds)

    assert {len(row) for row in rows} == {len(ROUND_COLUMNS)}
    assert [row[1] for row in rows] == [one.network for one in papers.rounds]
    chosen = [row for row, one in zip(rows, papers.rounds, strict=True) if one.again]
    assert all("yes; anew " in row[7] for row in chosen)
    assert chosen


def test_a_network_that_was_given_up_is_told_apart(papers: Manifest) -> None:
    again = Again(1300.0, (1200.0, 1400.0), True, False)

    (row,) = round_rows([replace(papers.rounds[0], again=again)])

    assert row[7] == "yes; anew 1.30 ms (1.40 ms, noisy): no"


def test_what_was_learned_is_what_has_changed(papers: Manifest) -> None:
    before = papers.beliefs
    assert before is not None

    assert learned(before, before) == "nothing new"
    assert learned(None, before) == ""
    assert learned(replace(before, stitch_us=1.0), replace(before, stitch_us=2.5)) == (
        "stitch us 1 to 2.5"
    )
