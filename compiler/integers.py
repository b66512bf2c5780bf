"""Integers for the solver: CP-SAT decides over integers, a problem's numbers are decimals.

Where all numbers of a column are short decimals (1.5, 0.25, 910.1) they are scaled to exact
integers. Where they are not (measured times with all their digits) they are rounded on a grid of
about 1e-10 of the largest number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

LARGEST = 10**10
"""Integers are at most this large: the sum over a million arcs stays far inside int64."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How a column is scaled: by 10 to the power of `digits`; `exact` if no number is rounded."""

    digits: int
    exact: bool

    @classmethod
    def over(cls, values: Iterable[float]) -> Grid:
        """The coarsest decimal grid that holds all values exactly, else a fine one to round on."""
        decimals = [_decimal(value).normalize() for value in set(values) if value]
        if not decimals:
            return cls(0, True)
        largest = max(abs(value) for value in decimals)
        digits = -min(_exponent(value) for value in decimals)
        if largest.scaleb(digits) <= LARGEST:
            return cls(digits, True)
        return cls(9 - largest.adjusted(), False)

    def nearest(self, value: float) -> int:
        """The closest integer, for scores."""
        return int(_decimal(value).scaleb(self.digits).to_integral_value(ROUND_HALF_EVEN))

    def down(self, value: float) -> int:
        """The integer below."""
        return int(_decimal(value).scaleb(self.digits).to_integral_value(ROUND_FLOOR))

    def up(self, value: float) -> int:
        """The integer above."""
        return int(_decimal(value).scaleb(self.digits).to_integral_value(ROUND_CEILING))

    def highest(self, limit: float) -> int:
        """The highest integer that a sum may have whose correctly rounded value keeps `limit`.

        Such a sum may exceed the limit by half of the limit's last digit, and every number that is
        added differs from its decimal by as little: 1e-13 covers a thousand of them.
        """
        raised = _decimal(limit).scaleb(self.digits) * (1 + Decimal("1e-13"))
        return int(raised.to_integral_value(ROUND_FLOOR))

    def value(self, steps: int) -> float:
        """The number that an integer stands for."""
        return float(Decimal(steps).scaleb(-self.digits))


def _decimal(value: float) -> Decimal:
    """The number as a file has it: the shortest decimal that reads back as this float."""
    return Decimal(repr(float(value)))


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "numbers are finite"
    return exponent
