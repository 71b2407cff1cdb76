"""pydantic's errors in one line: key, value, expectation, nearest name."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from particle_transformer.config.analysis import Analysis
from particle_transformer.config.types import shown
from particle_transformer.errors import nearest

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

__all__ = ["describe"]

_EXPECTED = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
}
_BOUNDS = {"greater_than": ("gt", ">"), "greater_than_equal": ("ge", ">=")}
_BOUNDS |= {"less_than": ("lt", "<"), "less_than_equal": ("le", "<=")}

_UNITS = {"cross_section": "pb", "luminosity": "fb^-1"}

_SHORT_KEYS: dict[tuple[str, ...], tuple[str, ...]] = {(): ("luminosity",), ("event",): ("select",)}


def describe(error: ValidationError) -> str:
    """Say the most telling of the errors in one line, and how many more there are."""
    # A misspelt key also leaves the right one missing: the misspelling comes first.
    details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    more = len(details) - 1
    rest = f" (and {more} more {'error' if more == 1 else 'errors'})" if more else ""
    return f"{_one(details[0])}{rest}"


def _one(detail: ErrorDetails) -> str:
    # pydantic marks a wrong key of a mapping by a last part "[key]".
    parts = [str(part) for part in detail["loc"] if part != "[key]"]
    context = detail.get("ctx", {})
    if context.get("key"):
        parts.append(context["key"])
    return ": ".join(part for part in (".".join(parts), _message(detail, context)) if part)


def _message(detail: ErrorDetails, context: dict[str, Any]) -> str:
    kind = detail["type"]
    where = tuple(str(part) for part in detail["loc"])
    if kind == "analysis":
        return str(context["message"])
    if kind == "extra_forbidden":
        known = (*_known_keys(where[:-1]), *_SHORT_KEYS.get(where[:-1], ()))
        return f"unknown key; {nearest(where[-1], known)}"
    if kind == "missing":
        choices = [repr(choice) for choice in _choices(where)]
        which = f"; expected one of {', '.join(choices)}" if choices else ""
        return f"missing; this key is needed{which}"
    if kind in ("too_short", "string_too_short"):
        return "empty; expected at least one"
    expected = _EXPECTED.get(kind)
    if kind in _BOUNDS:
        name, sign = _BOUNDS[kind]
        # The bounds of real numbers are written as floats in the sections.
        noun = "an integer" if isinstance(context[name], int) else "a number"
        expected = f"{noun} {sign} {context[name]:g}"
    elif kind == "literal_error":
        expected = context["expected"]
    found = shown(detail["input"])
    if expected is None:
        return f"got {found}: {detail['msg']}"
    hint = "; put it in quotes" if expected == "text" and "list" not in found else ""
    if where and where[-1] in _UNITS:
        hint = f", in {_UNITS[where[-1]]}"
    return f"got {found}, expected {expected}{hint}"


def _known_keys(where: tuple[str, ...]) -> list[str]:
    """List the keys of the section at `where`."""
    return list(_fields(where))


def _choices(where: tuple[str, ...]) -> tuple[str, ...]:
    """List the words that the key at `where` may have, if they are only a few."""
    field = _fields(where[:-1]).get(where[-1])
    if field is None or get_origin(field.annotation) is not Literal:
        return ()
    return get_args(field.annotation)


def _fields(where: tuple[str, ...], annotation: Any = Analysis) -> dict[str, FieldInfo]:
    """The fields of the section at `where`, by key."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _fields(where, arguments[0])
    if origin in (Union, UnionType):  # at most one of them has keys of its own
        return next(filter(None, (_fields(where, argument) for argument in arguments)), {})
    if origin is dict:
        return _fields(where[1:], arguments[1])
    if not isinstance(annotation, type) or not issubclass(annotation, BaseModel):
        return {}
    fields = {field.alias or name: field for name, field in annotation.model_fields.items()}
    return _fields(where[1:], fields[where[0]].annotation) if where else fields
