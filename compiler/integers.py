"""Integers for the solver: CP-SAT decides over integers, a problem's numbers are decimals.

Where all numbers of a column are short decimals (1.5, 0.25, 910.1) they are scaled to exact
integers. Where they are not (measured times with all their digits) they are rounded on a grid of
about 1e-10 of the largest number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LARGEST = 10**10
"""Integers are at most this large: the sum over a million arcs stays far inside int64."""

_COARSEST, _FINEST = -6, 15
"""Digits that are tried with floats; powers of ten up to 1e22 are exact floats."""

_PLAIN = (1e-5, 1e15)
"""Columns whose largest number lies between are scaled with floats."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How a column is scaled: by 10 to the power of `digits`; `exact` if no number is rounded."""

    digits: int
    exact: bool

    @classmethod
    def over(cls, values: npt.ArrayLike) -> Grid:
        """The coarsest decimal grid that holds all values exactly, else a fine one to round on."""
        numbers = np.unique(np.abs(np.asarray(values, dtype=np.float64)))
        numbers = numbers[numbers > 0]
        if not numbers.size:
            return cls(0, True)
        largest = _decimal(numbers[-1])
        if _PLAIN[0] <= numbers[-1] <= _PLAIN[1]:
            digits = _short(numbers)
        else:
            digits = -min(_exponent(_decimal(value).normalize()) for value in numbers.tolist())
            digits = digits if largest.scaleb(digits) <= LARGEST else None
        return cls(9 - largest.adjusted(), False) if digits is None else cls(digits, True)

    def nearest(self, values: Floats) -> Integers:
        """The closest integers, for scores."""
        return self._rounded(values, np.rint, ROUND_HALF_EVEN, 0.5)

    def down(self, values: Floats) -> Integers:
        """The integers below."""
        return self._rounded(values, np.floor, ROUND_FLOOR, 0.0)

    def up(self, values: Floats) -> Integers:
        """The integers above."""
        return self._rounded(values, np.ceil, ROUND_CEILING, 0.0)

    def below(self, limit: float) -> int:
        """The integer below a limit, which may be far larger than the column's numbers."""
        return int(_decimal(limit).scaleb(self.digits).to_integral_value(ROUND_FLOOR))

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

    def _rounded(
        self, values: Floats, rounding: Callable[[Floats], Floats], mode: str, turn: float
    ) -> Integers:
        """Rounded as decimals: floats decide where they are sure, decimals near a `turn`."""
        if not -22 <= self.digits <= 22:
            return np.array([self._decided(value, mode) for value in values.tolist()], np.int64)
        power = 10.0 ** abs(self.digits)
        scaled = values * power if self.digits >= 0 else values / power
        if self.exact:
            return np.rint(scaled).astype(np.int64)
        steps = rounding(scaled).astype(np.int64)
        unsure = np.abs(scaled - turn - np.rint(scaled - turn)) < 1e-5
        for position in np.flatnonzero(unsure & (scaled != 0)).tolist():
            steps[position] = self._decided(float(values[position]), mode)
        return steps

    def _decided(self, value: float, mode: str) -> int:
        return int(_decimal(value).scaleb(self.digits).to_integral_value(mode))


def _short(numbers: Floats) -> int | None:
    """The fewest digits with which all numbers are integers, None if these would be too large.

    A decimal of at most 15 digits that reads as a float is the shortest one that does.
    """
    for digits in range(_COARSEST, _FINEST + 1):
        power = 10.0 ** abs(digits)
        steps = np.rint(numbers * power if digits >= 0 else numbers / power)
        if steps[-1] > LARGEST:
            return None
        again = steps / power if digits >= 0 else steps * power
        if np.array_equal(again, numbers):
            return digits
    return None


def _decimal(value: float) -> Decimal:
    """The number as a file has it: the shortest decimal that reads back as this float."""
    return Decimal(repr(float(value)))


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "numbers are finite"
    return exponent
