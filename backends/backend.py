"""`Backend` and `Engine`: what every runtime offers, and the checks that all of them share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from backends.model import ExportedModel, TensorSpec
from targets.errors import UsageError
from targets.target import Target

Array = np.ndarray[Any, np.dtype[Any]]
"""A numpy array of any shape and dtype."""


class Engine(ABC):
    """A model compiled by one runtime, ready to run; a context manager that frees it.

    Attributes:
        simulated: Whether its time is computed and not measured, so that neither the process's
            memory, nor energy, nor what else the machine does says anything of it.
    """

    simulated: ClassVar[bool] = False

    def __init__(self, model: ExportedModel, load_seconds: float) -> None:
        """Keeps the specs that inputs are checked against.

        Args:
            model: The model that was compiled.
            load_seconds: How long the runtime took to load and optimize it.
        """
        self._model = model
        self._load_seconds = load_seconds
        self._closed = False

    @property
    def load_seconds(self) -> float:
        """Seconds that the runtime took to load and optimize the model."""
        return self._load_seconds

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Computes all outputs of one inference.

        Args:
            inputs: An array for every input of the model, by name, of its shape and dtype.

        Raises:
            UsageError: Names, shapes or dtypes are not the model's, or the engine is closed.
        """
        self._check(inputs)
        return self._run(inputs)

    def time(self, inputs: Mapping[str, Array], repeats: int) -> float:
        """Seconds that `repeats` consecutive inferences took by the runtime's own clock.

        Inputs and outputs are bound beforehand, so that no copy is timed.

        Raises:
            UsageError: As for `run`, or `repeats` is less than 1.
        """
        self._check(inputs)
        if repeats < 1:
            raise UsageError(f"Cannot time {repeats} inferences. Ask for at least 1.")
        return self._time(inputs, repeats)

    def close(self) -> None:
        """Frees the engine; it refuses to work afterwards. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        """Returns the engine itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the engine."""
        self.close()

    @abstractmethod
    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...

    @abstractmethod
    def _time(self, inputs: Mapping[str, Array], repeats: int) -> float: ...

    @abstractmethod
    def _close(self) -> None: ...

    def _check(self, inputs: Mapping[str, Array]) -> None:
        if self._closed:
            raise UsageError(
                f"The engine of {self._model.name!r} is closed. Compile the model again."
            )
        expected = [spec.name for spec in self._model.inputs]
        if set(inputs) != set(expected):
            raise UsageError(
                f"The engine of {self._model.name!r} was given the inputs {sorted(inputs)}; "
                f"it takes {sorted(expected)}. Give exactly these, by name."
            )
        for spec in self._model.inputs:
            _check_array(spec, inputs[spec.name])


@dataclass(frozen=True, slots=True)
class Step:
    """One step of what a runtime stands on.

    Attributes:
        name: What is looked at.
        found: What was found; empty where it failed.
        problem: Why it failed; empty where it did not.
        fix: What to do then.
        needed: Whether engines cannot be run without it; else only their times are worse.
    """

    name: str
    found: str
    problem: str = ""
    fix: str = ""
    needed: bool = True

    @property
    def passed(self) -> bool:
        """Whether it holds."""
        return not self.problem


class Backend(ABC):
    """One runtime: says whether it can be used here, and compiles models into engines."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which the registry finds it."""

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why the runtime cannot be used here and what to install; None where it can be used."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions that must match for two measurements to be comparable, by package name."""

    def ladder(self) -> tuple[Step, ...]:
        """What it stands on, from below to the first step that fails; none where it is one step."""
        return ()

    def precision(self, target: Target) -> str:
        """What float graphs are run in on a target; parts that are in int8 stay so."""
        return "fp32"

    @abstractmethod
    def compile(self, model: ExportedModel, target: Target) -> Engine:
        """Loads and optimizes a model as the target says.

        Raises:
            TargetUnavailableError: The runtime is not installed.
            UsageError: The runtime cannot load this model.
        """


def _check_array(spec: TensorSpec, array: Array) -> None:
    given = f"{array.dtype.name} {tuple(array.shape)}"
    if tuple(array.shape) != spec.shape or array.dtype.name != spec.dtype:
        raise UsageError(
            f"The input {spec.name!r} is {given}; the model takes {spec.dtype} {spec.shape}. "
            f"Convert it before it is given to the engine."
        )
