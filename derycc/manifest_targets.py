"""The part of a manifest that says what became of a network on every target it was built for."""

from pydantic.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OnTarget:
    """One target: what was asked, predicted and measured there; microseconds.

    Attributes:
        target: the device and its settings, as `--target` takes them.
        environment: fingerprint of what was measured in.
        costs: changes with everything that was measured of the zoo there; None: nothing was
            searched for.
        budget: as the user wrote it; None: there is none.
        budget_us: the same in numbers.
        predicted_us: the model's median; None: nothing was predicted.
        predicted_upper_us: its upper end.
        measured_us: median, measured anew after the choice was made.
        measured_interval_us: its 95 percent interval.
        noisy: whether the measurement says of itself that it should not be trusted.
        within: whether the interval's upper end is within the budget; without one, it is.
        cosine: the least of the engine's logits with torch's, on the held-out photographs.
    """

    target: str
    environment: str
    costs: str | None
    budget: str | None
    budget_us: float | None
    predicted_us: float | None
    predicted_upper_us: float | None
    measured_us: float
    measured_interval_us: tuple[float, float]
    noisy: bool
    within: bool
    cosine: float
