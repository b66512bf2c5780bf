from dataclasses import replace

import pytest

from profilers.environment import Environment
from profilers.measurement import Measurement
from profilers.protocol import Protocol
from profilers.store import CostStore, Round

SESSIONS = ("one", "two", "three")


def measured(
    store: CostStore, environment: Environment, round_of_a: Round, last: float
) -> Measurement:
    """Three rounds of the same samples; in the last the sentinel took `last` times its usual."""
    protocol = Protocol()
    for index, session in enumerate(SESSIONS):
        done = replace(round_of_a, index=index, session=session, samples=(1e-3,) * 9)
        store.add_round(environment, protocol, done)
        for _ in range(3):
            factor = last if session == SESSIONS[-1] else 1.0
            store.add_sentinel(environment, protocol, session, [1e-4 * factor])
    return store.measurements(environment)["a"]


def test_a_machine_that_stays_the_same_has_no_drift(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    found = measured(store, environment, round_of_a, last=1.0)

    assert (found.scales, found.drift, found.noise) == ((), None, None)


def test_a_little_drift_is_corrected_and_no_reason_for_distrust(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    found = measured(store, environment, round_of_a, last=1.1)

    assert found.scales == pytest.approx((1.0, 1.0, 1 / 1.1))
    assert found.drift is None


@pytest.mark.parametrize(("last", "noise"), [(1.5, "50%"), (0.7, "30%")])
def test_much_drift_is_not_corrected_but_said(
    store: CostStore, environment: Environment, round_of_a: Round, last: float, noise: str
) -> None:
    found = measured(store, environment, round_of_a, last)

    assert found.scales == ()
    assert found.noise == f"the machine was {noise} off its usual speed"


def measured_twice(store: CostStore, environment: Environment, round_of_a: Round) -> Measurement:
    """Three rounds, then three more of a new generation on a machine that is 12 % slower."""
    protocol = Protocol()
    for index in range(6):
        generation, session = index // 3, f"{index}"
        speed = 1.12 if generation else 1.0
        done = replace(round_of_a, index=index, session=session, generation=generation)
        store.add_round(environment, protocol, replace(done, samples=(1e-3 * speed,) * 9))
        for _ in range(3):
            store.add_sentinel(environment, protocol, session, [1e-4 * speed])
    return store.measurements(environment)["a"]


def test_a_machine_that_was_given_up_does_not_correct_what_replaced_it(
    store: CostStore, environment: Environment, round_of_a: Round
) -> None:
    found = measured_twice(store, environment, round_of_a)

    assert (found.scales, found.drift) == ((), None)
    assert found.median_us == pytest.approx(1120)


@pytest.mark.parametrize("readings", [1, 2])
def test_a_round_that_was_cut_short_is_not_corrected(
    store: CostStore, environment: Environment, round_of_a: Round, readings: int
) -> None:
    protocol = Protocol()
    measured(store, environment, round_of_a, last=1.0)
    store.add_round(environment, protocol, replace(round_of_a, index=3, session="cut"))
    for _ in range(readings):
        store.add_sentinel(environment, protocol, "cut", [1.1e-4])

    found = store.measurements(environment)["a"]

    assert (found.scales, found.drift) == ((), None)
