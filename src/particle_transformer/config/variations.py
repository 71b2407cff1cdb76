"""Systematic variations: what changes, up and down."""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeAlias

from pydantic import (
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from particle_transformer.config.corrections import Correction, Weight
from particle_transformer.config.types import ExpressionText, FilePatterns, Label, Section, problem

__all__ = ["Variation"]

_WEIGHT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Weight])
_FILES: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, dict[Label, FilePatterns]])
_VALUE: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, ExpressionText])

_CONDITION: TypeAdapter[str] = TypeAdapter(ExpressionText)

Replacement: TypeAlias = str | Correction | dict[str, tuple[str, ...]]


def _side(
    value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> dict[str, Replacement]:
    """Validate each value as its key wants it."""
    if not isinstance(value, dict):
        refused: dict[str, Replacement] = handler(value)
        return refused
    if not value:
        message = "empty; expected at least one"
        raise problem(message)
    side: dict[str, Replacement] = {}
    for key, item in value.items():
        kind = str(key).partition(".")[0]
        adapter = {"weights": _WEIGHT, "processes": _FILES}.get(kind, _VALUE)
        side |= adapter.validate_python({key: item}, context=info.context)
    return side


def _switch_or_condition(value: object, _: ValidatorFunctionWrapHandler) -> bool | str:
    return value if isinstance(value, bool) else _CONDITION.validate_python(value)


Side = Annotated[dict[str, Replacement], WrapValidator(_side)]


class Variation(Section):
    """A systematic variation of the simulation: what replaces the nominal, up and down.

    Attributes
    ----------
    up, down
        At least one. ``jets.pt`` (a field of a collection): an expression of the collection;
        ``met.pt`` (a quantity of ``event.define``): an expression of the event; ``weights.NAME``:
        an expression or a correction; ``processes.NAME.files``: patterns by era, and then nothing
        else. In the expressions every name means the nominal value, and within a collection the
        objects before their selection.
    propagate_to_met
        Whether ``met.pt`` and ``met.phi`` follow the varied objects of the collection; an
        expression says which of them count.
    """

    up: Side | None = None
    down: Side | None = None
    propagate_to_met: Annotated[bool | str, WrapValidator(_switch_or_condition)] = False

    @property
    def sides(self) -> dict[str, dict[str, Replacement]]:
        """The sides that are given, up before down."""
        both = {"up": self.up, "down": self.down}
        return {name: side for name, side in both.items() if side is not None}

    @model_validator(mode="after")
    def _has_a_side(self) -> Self:
        if not self.sides:
            message = "neither up nor down is given; expected at least one of them"
            raise problem(message)
        return self
