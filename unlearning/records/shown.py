"""Which numbers of a repair are measures of it: said once, at their fields."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from pydantic import BaseModel


@dataclasses.dataclass(frozen=True)
class Shown:
    """Marks a field as a measure that tables and figures may show.

    Attributes:
        label: Its name there.
        unit: `%` of a share that is stored as a fraction, or what it is stored in.
        better: In which direction it is better; empty where it says nothing of the repair.
        compared: Under which name `compare` compares methods by it; empty where it does not.
    """

    label: str
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    compared: str = ""

    @property
    def scale(self) -> float:
        """What a stored value is multiplied by to be in `unit`."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def title(self) -> str:
        """Label and unit, as the heading of a table or an axis."""
        return f"{self.label}, in {self.unit}" if self.unit else self.label

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Says in the JSON Schema, too, which direction is better."""
        return {**handler(core), **({"x-better": self.better} if self.better else {})}


def metrics_of(cls: type[BaseModel]) -> dict[str, Shown]:
    """Returns the measures of a record by field name, in the order of the fields."""
    return {
        name: mark for name, field in cls.model_fields.items() for mark in field.metadata if isinstance(mark, Shown)
    }
