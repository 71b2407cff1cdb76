"""Where a training is logged; which loggers there are, the training knows."""

from __future__ import annotations

import math

from pydantic import ConfigDict, Field, JsonValue, model_validator

from particle_transformer.config.types import Label, Section, problem, shown

__all__ = ["Logger"]


class Logger(Section):
    """A logger; in the file also its name alone.

    Attributes
    ----------
    name
        What it is called.
    """

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    name: Label

    @property
    def options(self) -> dict[str, JsonValue]:
        """The keys beside `name`: the logger's own arguments."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="before")
    @classmethod
    def _spelt_out(cls, data: object) -> object:
        if isinstance(data, dict):
            for key, value in data.items():
                _check_option(key, value)
            return data
        return data if isinstance(data, Logger) else {"name": data}


def _check_option(key: object, value: object) -> None:
    """Refuse what the resolved analysis file would not read back equal."""
    if not isinstance(key, str):
        message = f"got the key {shown(key)}, expected text"
        raise problem(message)
    for part in value if isinstance(value, list) else [value]:
        plain = isinstance(part, str | bool | int | float)
        if not plain or (isinstance(part, float) and not math.isfinite(part)):
            message = (
                f"got {shown(part)}, expected text, a finite number, true or false, or a list of "
                f"these"
            )
            raise problem(message, key)
