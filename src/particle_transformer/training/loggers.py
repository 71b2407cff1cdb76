"""Loggers by name."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lightning.pytorch import loggers

from particle_transformer.errors import AnalysisFileError, MissingExtraError, nearest
from particle_transformer.training.csv_logger import CSVLogger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lightning.pytorch.loggers import Logger

__all__ = ["check_loggers", "known_loggers", "make_loggers"]

_TO_FILES = ("csv", "tensorboard")
_OWN = {"save_dir", "log_dir", "logdir", "version", "steps", "purge_step"}
"""Where and after what a logger to files writes is the run's business."""

_NEEDS = {
    "comet": "comet_ml",
    "lit": "litlogger",
    "mlflow": "mlflow",
    "tensorboard": "tensorboardX",
    "wandb": "wandb",
}


def known_loggers() -> dict[str, type[Logger]]:
    """Lightning's loggers, and our own for ``csv``, by their names in the analysis file."""
    known: dict[str, type[Logger]] = {
        name.removesuffix("Logger").lower(): getattr(loggers, name)
        for name in loggers.__all__
        if name != "Logger"
    }
    return {**known, "csv": CSVLogger}


def check_loggers(wanted: Sequence[Mapping[str, Any]]) -> None:
    """Check that there are such loggers, as far as that can be told without starting them.

    Parameters
    ----------
    wanted
        As in `make_loggers`.

    Raises
    ------
    AnalysisFileError
        If a name or an option is unknown.
    MissingExtraError
        If what a logger needs is not installed.
    """
    known = known_loggers()
    for entry in wanted:
        name = str(entry["name"])
        if name not in known:
            message = f"training.loggers: unknown logger {name!r}; {nearest(name, known)}"
            raise AnalysisFileError(message)
        if name in _NEEDS and find_spec(_NEEDS[name]) is None:
            message = (
                f"training.loggers: {name} needs {_NEEDS[name]}, which is not installed; install "
                "it, or leave the logger out"
            )
            raise MissingExtraError(message)
        options = _options(name, known[name])
        for option in entry:
            if options is not None and option not in options and option != "name":
                message = (
                    f"training.loggers: {name} has no option {option!r}; {nearest(option, options)}"
                )
                raise AnalysisFileError(message)


def make_loggers(
    wanted: Sequence[Mapping[str, Any]], folder: Path, *, steps: int = 0
) -> list[Logger]:
    """Make loggers.

    Parameters
    ----------
    wanted
        Options of each logger, ``name`` among them.
    folder
        What loggers to files write to.
    steps
        Steps of the fit that were done before; what loggers to files have of later ones is
        replaced.

    Raises
    ------
    AnalysisFileError
        If a name or an option is unknown, or the logger refuses the options.
    MissingExtraError
        If what a logger needs is not installed.
    """
    check_loggers(wanted)
    known = known_loggers()
    made = []
    for entry in wanted:
        options = dict(entry)
        name = str(options.pop("name"))
        taken = inspect.signature(known[name]).parameters
        where: dict[str, Any] = {
            place: str(folder) for place in ("save_dir", "root_dir") if place in taken
        }
        if name == "csv":
            where["steps"] = steps
        if name == "tensorboard":
            # Its queue is written by the clock, whatever is flushed: the less is lost by a kill.
            where |= {"name": "", "version": "", "flush_secs": 1, "purge_step": steps}
            if steps:  # files are named by the second, and one of the same second would be lost
                where["filename_suffix"] = f".step-{steps}"
        try:
            made.append(known[name](**{**where, **options}))
        except (TypeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            message = f"training.loggers: {name} refuses its options ({reason})"
            raise AnalysisFileError(message) from error
    return made


def _options(name: str, kind: type[Logger]) -> set[str] | None:
    """Names of the options of a logger; None where it takes any."""
    functions: list[Any] = [kind]
    if name == "tensorboard":  # what it does not know it hands on, and there any is taken
        functions = [kind, import_module("tensorboardX").SummaryWriter]
    taken: set[str] = set()
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        if open_ended and name not in _TO_FILES:
            return None
        taken |= {
            parameter.name
            for parameter in parameters
            if parameter.kind is not parameter.VAR_KEYWORD
        }
    return taken - {"name"} - (_OWN if name in _TO_FILES else set())
