"""What `aot tune` varies, and how long: one section of the analysis file."""

from __future__ import annotations

import json
import math
import re
from types import UnionType
from typing import Annotated, Any, Self, TypeAlias, Union, get_args, get_origin

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from particle_transformer.config.sections import Model
from particle_transformer.config.training import Training
from particle_transformer.config.types import Real, Section, Whole, problem, shown
from particle_transformer.errors import nearest

__all__ = ["Choices", "Range", "Tuning", "choice_label"]

_SECTIONS: dict[str, type[Section]] = {"training": Training, "model": Model}

_OTHER_LOSS = "changes what the validation loss is, by which trials are compared"

_REFUSED = {
    "training.folds": "decides which events a trial is judged by",
    "training.seed": "is the same for all trials, so that they differ by their settings alone",
    "training.ensemble": "does not change a trial, which trains one network of a fold",
    "training.init": "decides on the widths of the network",
    "training.loggers": "changes no network",
    "training.checkpoint_minutes": "changes no network",
    "training.loss": _OTHER_LOSS,
    "training.disco": _OTHER_LOSS,
    "training.double_disco": _OTHER_LOSS,
    "training.regression": _OTHER_LOSS,
    "training.balance": _OTHER_LOSS,
    "training.negative_weights": _OTHER_LOSS,
    "model.pair_bias": "changes the prepared events, which are the same for all trials",
}
"""Keys of the two sections that are no hyperparameters, and why."""


# YAML 1.1 takes 1e-4, without a dot, for text.
_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


def _exponent(value: object) -> object:
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _number(value: object) -> int | float:
    value = _exponent(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        message = f"got {shown(value)}, expected a finite number"
        raise problem(message)
    return value


Number = Annotated[int | float, BeforeValidator(_number)]


class Range(Section):
    """All numbers from one to another, or some at equal distances.

    Attributes
    ----------
    low, high
        The ends, which belong to it.
    log
        Whether numbers are drawn uniformly in their logarithm.
    step
        The distance of the numbers, from `low` on.
    """

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if not self.high > self.low:
            message = f"got {self.high:g}, expected more than low = {self.low:g}"
            raise problem(message, "high")
        if self.log and self.low <= 0:
            message = f"got {self.low:g}, expected a number > 0 with log: true"
            raise problem(message, "low")
        if self.step is not None:
            if self.log:
                message = "given beside log: true; expected one of the two"
                raise problem(message, "step")
            if self.step <= 0:
                message = f"got {self.step:g}, expected a number > 0"
                raise problem(message, "step")
            steps = (self.high - self.low) / self.step
            if not math.isclose(steps, round(steps), rel_tol=1e-9) or round(steps) < 1:
                message = f"got {self.step:g}, expected that whole steps lead from low to high"
                raise problem(message, "step")
        return self

    def is_whole(self, key: str) -> bool:
        """Whether the values that `key` takes from it are integers."""
        parts = [self.low, self.high, *([] if self.step is None else [self.step])]
        return _numbers_of_key(key) == {int} and all(float(part).is_integer() for part in parts)


Choices: TypeAlias = tuple[JsonValue, ...]


def choice_label(value: JsonValue) -> str | int | float | bool | None:
    """What a choice is called in tables, plots and the study: itself, or JSON of a list."""
    return json.dumps(value) if isinstance(value, dict | list) else value


_CHOICES: TypeAdapter[Choices] = TypeAdapter(Choices)


def _choices_or_range(value: object, _: ValidatorFunctionWrapHandler) -> Choices | Range:
    # A union would report the errors of both sides.
    if isinstance(value, dict | Range):
        return Range.model_validate(value)
    if not isinstance(value, list | tuple):
        message = (
            f"got {shown(value)}, expected a list of choices, or a range such as "
            "{low: 1e-4, high: 1e-2, log: true}"
        )
        raise problem(message)
    choices = _CHOICES.validate_python([_exponent(item) for item in value])
    if len(choices) < 2:
        message = f"got {len(choices)}, expected two choices or more"
        raise problem(message)
    labels = [choice_label(choice) for choice in choices]
    for label in labels:
        if labels.count(label) > 1:
            message = f"{shown(label)} is given twice; expected each choice once"
            raise problem(message)
    return choices


class Tuning(Section):
    """How hyperparameters are searched for.

    Attributes
    ----------
    trials
        Settings that are tried, in all.
    folds
        Each trial trains a network for each of the first so many folds; it is judged by the mean
        of their validation losses.
    pruning
        Whether a trial is given up when its validation loss is behind that of others.
    seed
        Of the choice of settings.
    timeout_minutes
        After so long a program begins no further trial.
    space
        What is varied: choices or a range by dotted key (``training.learning_rate``); empty: a
        usual choice around the settings of the analysis file.
    """

    trials: Annotated[Whole, Field(ge=1)] = 40
    folds: Annotated[Whole, Field(ge=1)] = 1
    pruning: bool = True
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 1
    timeout_minutes: Annotated[Real, Field(gt=0.0)] | None = None
    space: dict[str, Annotated[Choices | Range, WrapValidator(_choices_or_range)]] = Field(
        default_factory=dict
    )

    @field_validator("space", mode="before")
    @classmethod
    def _keys_are_tunable(cls, space: object) -> object:
        for key in space if isinstance(space, dict) else ():
            _check_key(str(key))
        return space

    @field_validator("space")
    @classmethod
    def _ranges_are_of_numbers(
        cls, space: dict[str, Choices | Range]
    ) -> dict[str, Choices | Range]:
        for key, entry in space.items():
            if isinstance(entry, Range) and not _numbers_of_key(key):
                message = "got a range, but the key takes no numbers; expected a list of choices"
                raise problem(message, key)
        return space


def _check_key(key: str) -> None:
    section, _, name = key.partition(".")
    if section not in _SECTIONS:
        message = "not a key of training or model, and only those can be tuned: "
        raise problem(message + nearest(key, _tunable()), key)
    for refused, reason in _REFUSED.items():
        if key == refused or key.startswith(f"{refused}."):
            message = f"cannot be tuned: {refused} {reason}"
            raise problem(message, key)
    if name not in _SECTIONS[section].model_fields:
        message = f"unknown key; {nearest(key, _tunable())}"
        raise problem(message, key)


def _tunable() -> list[str]:
    keys = [f"{name}.{key}" for name, section in _SECTIONS.items() for key in section.model_fields]
    return [key for key in keys if key not in _REFUSED]


def _numbers_of_key(key: str) -> set[type]:
    """Which of int and float a key takes."""
    section, _, name = key.partition(".")
    return _numbers_of(_SECTIONS[section].model_fields[name].annotation)


def _numbers_of(annotation: Any) -> set[type]:
    """Which of int and float a field takes."""
    if get_origin(annotation) is Annotated:
        return _numbers_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_numbers_of, get_args(annotation)))
    return {annotation} & {int, float}
