"""`CostTable`: what models cost on one target in one environment, as a value and as a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from backends.model import ExportedModel
from profilers.environment import Environment
from profilers.measurement import Measurement
from targets.errors import UsageError

FORMAT: Literal["derycc.cost-table/1"] = "derycc.cost-table/1"
"""Format of the files that are written; files of every earlier format are read."""


@dataclass(frozen=True, slots=True)
class CostTable:
    """Measurements by model structure, all of one environment.

    Attributes:
        environment: Where everything was measured.
        costs: Measurements by `ExportedModel.structure`.
        failures: Why a model has no measurement, by its structure.
        unmeasured: Structures, sorted, for which a time limit left no time.
        format: Format of the file.
    """

    environment: Environment
    costs: Mapping[str, Measurement]
    failures: Mapping[str, str] = field(default_factory=dict)
    unmeasured: tuple[str, ...] = ()
    format: Annotated[Literal["derycc.cost-table/1"], Field()] = FORMAT

    def __post_init__(self) -> None:
        """Checks that every measurement lies under its own key."""
        for key, measurement in self.costs.items():
            if key != measurement.key:
                raise UsageError(
                    f"The cost table has a measurement of {measurement.key!r} under {key!r}. "
                    f"Profile again, or take the file from where it was made."
                )

    def cost(self, model: ExportedModel | str) -> Measurement:
        """The measurement of a model, given itself or its structure.

        Raises:
            UsageError: The table does not have it.
        """
        key = model if isinstance(model, str) else model.structure
        if key in self.costs:
            return self.costs[key]
        name = repr(key if isinstance(model, str) else model.name or key)
        if key in self.failures:
            raise UsageError(f"The model {name} could not be measured: {self.failures[key]}")
        if key in self.unmeasured:
            raise UsageError(
                f"The model {name} was not measured because the time limit was over. Profile again "
                f"with more time: what was measured is kept."
            )
        raise UsageError(
            f"The cost table has no measurement of {name}; it has {len(self.costs)} models on "
            f"{self.environment.target!r}. Profile this model on the same target first."
        )

    def merge(self, other: "CostTable") -> "CostTable":
        """Both tables in one; of a model that both have, the measurement with more samples.

        Raises:
            UsageError: They were measured in different environments.
        """
        if self.environment.fingerprint != other.environment.fingerprint:
            raise UsageError(
                f"Cannot merge cost tables of different environments "
                f"({'; '.join(self.environment.differences(other.environment))}). "
                f"Profile again in one environment, or keep a table for each."
            )
        costs = dict(self.costs)
        for key, measurement in other.costs.items():
            costs[key] = max(costs.get(key, measurement), measurement, key=_weight)
        failures = {**self.failures, **other.failures}
        left = {key: why for key, why in failures.items() if key not in costs}
        waiting = {*self.unmeasured, *other.unmeasured} - set(costs) - set(left)
        return CostTable(self.environment, costs, left, tuple(sorted(waiting)))

    def to_json(self) -> str:
        """The table as a JSON text with its format version."""
        return _ADAPTER.dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "CostTable":
        """Reads a text that `to_json` wrote, of this or an earlier version.

        Raises:
            UsageError: It is no cost table, or one of a newer version.
        """
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the text"
            raise UsageError(
                f"Cannot read the cost table: {where}: {first['msg']}. It must be JSON of the "
                f"format {FORMAT!r}; update derycc if a newer one wrote it, else profile again."
            ) from error


def _weight(measurement: Measurement) -> tuple[int, tuple[tuple[float, ...], ...]]:
    return measurement.n, measurement.rounds


_ADAPTER = TypeAdapter(CostTable)
