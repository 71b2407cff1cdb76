"""The scalar types of the analysis file: names, expressions, file patterns."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from particle_transformer.errors import ExpressionError
from particle_transformer.expressions import parse
from particle_transformer.expressions.nodes import Name

__all__ = [
    "PRETRAINED",
    "Branch",
    "DottedName",
    "ExpressionText",
    "Features",
    "FilePatterns",
    "InitialNetwork",
    "Label",
    "LocalFile",
    "OtherPatterns",
    "PlainName",
    "Section",
    "Texts",
    "Whole",
    "each_once",
    "one_or_many",
    "problem",
    "shown",
]


class Section(BaseModel):
    """A part of the analysis file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


def problem(message: str, key: str = "") -> PydanticCustomError:
    """Make the error that the loader prints as it is.

    Parameters
    ----------
    message
        What was found and what is expected.
    key
        The key it concerns, relative to where the error is raised.
    """
    return PydanticCustomError("analysis", "{message}", {"message": message, "key": key})


def shown(value: object) -> str:
    """What an error message says was found."""
    if isinstance(value, dict | list | tuple):
        return "keys with values" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _number_as_text(value: object) -> object:
    return repr(value) if isinstance(value, bool | int | float) else value


def _expression(text: str) -> str:
    text = " ".join(text.split())
    try:
        parse(text)
    except ExpressionError as error:
        hint = ""
        if text.count("(") > text.count(")"):
            hint = "; inside {...} an expression with a comma needs quotes"
        message = f"{error}{hint}"
        raise problem(message) from error
    return text


def _join_split_calls(value: object) -> object:
    """Mend ``[delta_phi(phi, met.phi)]``, which YAML splits at the comma into two texts."""
    if not isinstance(value, list | tuple):
        return value
    joined: list[object] = []
    pending: list[str] = []
    for item in value:
        if not pending and not isinstance(item, str):
            joined.append(item)
            continue
        pending.append(item if isinstance(item, str) else repr(item))
        text = ", ".join(pending)
        if text.count("(") <= text.count(")"):
            joined.append(text)
            pending = []
    return [*joined, *([", ".join(pending)] if pending else [])]


def _name(text: str) -> str:
    try:
        is_name = parse(text).tree == Name(text)
    except ExpressionError:
        is_name = False
    if not is_name:
        message = (
            f"{text!r} cannot be used as a name in expressions; expected letters, digits and _"
        )
        raise problem(message)
    return text


def _plain_name(text: str) -> str:
    if "." in text:
        message = f"{text!r} contains a dot; expected a name of letters, digits and _"
        raise problem(message)
    return _name(text)


def _label(text: str) -> str:
    # These become parts of file names and of column names.
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}", text):
        message = f"{text!r} is not a safe name; expected letters, digits and _ . + - (at most 100)"
        raise problem(message)
    return text


def _unquoted_number(value: object) -> object:
    # An era is often written 2018: without quotes.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        message = f"got {str(value).lower()}, expected a number"
        raise problem(message)
    return value


def one_or_many(value: object) -> object:
    """Take one text for a list of it."""
    return [value] if isinstance(value, str) else value


def each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a name that is given twice."""
    for name in names:
        if names.count(name) > 1:
            message = f"{name} is given twice; expected each at most once"
            raise problem(message)
    return names


def _resolved(pattern: str, info: ValidationInfo) -> str:
    context: Any = info.context
    if context is None or "://" in pattern:
        return pattern
    # A folder called run[1] is not a pattern; what the user wrote is.
    base = glob.escape(str(Path(context["base"]).resolve()))
    return os.path.normpath(os.path.join(base, os.path.expanduser(pattern)))  # noqa: PTH111, PTH118


def _resolved_file(path: str, info: ValidationInfo) -> str:
    if "://" in path:
        message = f"got {path!r}, expected the path of a file, not a URL"
        raise problem(message)
    context: Any = info.context
    if context is None:
        return path
    base = Path(context["base"]).resolve()
    return os.path.normpath(os.path.join(base, os.path.expanduser(path)))  # noqa: PTH111, PTH118


def _initial_network(name: str, info: ValidationInfo) -> str:
    return name if name == PRETRAINED else _resolved_file(name, info)


PRETRAINED = "pretrained"
"""The network that comes with this package."""

Branch = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
"""The name of a branch or column in the files, as it is there."""

ExpressionText = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_expression)]
"""An expression that parses; numbers are taken too."""

Features = Annotated[tuple[ExpressionText, ...], BeforeValidator(_join_split_calls)]
"""A list of expressions."""

PlainName = Annotated[str, AfterValidator(_plain_name)]
"""A name that expressions can use, without a dot."""

DottedName = Annotated[str, AfterValidator(_name)]
"""A name that expressions can use, with at most one dot."""

Label = Annotated[str, BeforeValidator(_unquoted_number), AfterValidator(_label)]
"""A name of an era, process or class, safe in file names."""

Whole = Annotated[int, BeforeValidator(_no_bool)]
"""An integer; YAML's true is not 1."""

Real = Annotated[float, BeforeValidator(_no_bool)]
"""A finite number; YAML's true is not 1."""

Texts = Annotated[
    tuple[Annotated[str, BeforeValidator(_number_as_text)], ...],
    BeforeValidator(_join_split_calls),
]
"""A list of texts, each an expression or literal."""

LocalFile = Annotated[Branch, AfterValidator(_resolved_file)]
"""The path of one file; a relative one is resolved against the analysis file's folder."""

InitialNetwork = Annotated[Branch, AfterValidator(_initial_network)]
"""`PRETRAINED`, or the folder of a network or run, resolved as `LocalFile` is."""

OtherPatterns = Annotated[
    tuple[Annotated[Branch, AfterValidator(_resolved)], ...], BeforeValidator(one_or_many)
]
"""`FilePatterns`, of which there may be none."""

FilePatterns = Annotated[OtherPatterns, Field(min_length=1)]
"""Paths, glob patterns or URLs; relative ones are resolved against the analysis file's folder."""
