"""The fixtures that every test gets."""

import sys

from torch import set_flush_denormal

HALF = 0.5


def test_subnormal_numbers_may_be_lost_in_a_test() -> None:
    set_flush_denormal(True)
    assert sys.float_info.min * HALF == 0.0


def test_and_are_there_again_in_the_next() -> None:
    assert sys.float_info.min * HALF > 0.0
