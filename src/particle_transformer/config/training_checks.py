"""The training against the rest of the analysis: what must hold between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer.config.types import problem
from particle_transformer.errors import nearest

if TYPE_CHECKING:
    from particle_transformer.config.analysis import Analysis

__all__ = ["check_training"]


def check_training(analysis: Analysis) -> None:
    """Check that the training asks for what the analysis has.

    Raises
    ------
    PydanticCustomError
        See `problem`.
    """
    training = analysis.training
    if training.disco is not None:
        _check_spectators(analysis, training.disco.against, "training.disco.against")
    if training.regression is not None:
        _check_spectators(analysis, training.regression.targets, "training.regression.targets")
    if training.double_disco is not None and len(analysis.classes) != 2:
        message = (
            f"got the classes {', '.join(analysis.classes)}; expected signal and one of background"
        )
        raise problem(message, "training.double_disco")
    signals = _check_parameters(analysis)
    for name in training.condition:
        _check_condition(analysis, signals, name)


def _check_spectators(analysis: Analysis, chosen: tuple[str, ...], key: str) -> None:
    known = analysis.event.spectators
    for text in chosen:
        if text not in known:
            hint = nearest(text, known) if known else "there are none"
            message = f"got {text!r}, expected one of event.spectators, as written there; {hint}"
            raise problem(message, key)


def _check_parameters(analysis: Analysis) -> dict[str, dict[str, float]]:
    """Give the parameters of every signal process."""
    signal, *_ = analysis.classes
    signals = {}
    for name, process in analysis.processes.items():
        if process.class_name == signal:
            signals[name] = process.parameters
        elif process.parameters:
            message = (
                f"got {', '.join(process.parameters)}, but only a process of class {signal} has "
                f"parameters; remove it: in training a background event gets one of the signal's "
                f"values"
            )
            raise problem(message, f"processes.{name}.parameters")
    names = list(dict.fromkeys(name for found in signals.values() for name in found))
    for process_name, found in signals.items():
        for name in names:
            if name not in found:
                other = next(other for other, its in signals.items() if name in its)
                message = f"{name} is missing, which {other} has; expected it in every process of "
                message += f"class {signal}, or in none"
                raise problem(message, f"processes.{process_name}.parameters")
    return signals


def _check_condition(analysis: Analysis, signals: dict[str, dict[str, float]], name: str) -> None:
    key = "training.condition"
    first, parameters = next(iter(signals.items()))
    if name not in parameters:
        hint = (
            nearest(name, parameters)
            if parameters
            else f"there are none, as in processes.{first}.parameters: {{{name}: 1}}"
        )
        message = f"got {name!r}, expected a parameter of the signal processes; {hint}"
        raise problem(message, key)
    values = {found[name] for found in signals.values()}
    if len(values) < 2:
        message = (
            f"got {name!r}, which is {values.pop():g} in every signal process ("
            f"{', '.join(signals)}); expected at least two different values"
        )
        raise problem(message, key)
    if name in analysis.event.features:
        message = f"got {name!r}, which is an event feature, too; give one of them another name"
        raise problem(message, key)
