"""Loggers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch import loggers

from particle_transformer.errors import AnalysisFileError, MissingExtraError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lightning.pytorch.loggers import Logger

__all__ = ["known_loggers", "make_loggers"]


def known_loggers() -> dict[str, type[Logger]]:
    """Lightning's loggers by their names in the analysis file, such as ``csv``."""
    return {
        name.removesuffix("Logger").lower(): getattr(loggers, name)
        for name in loggers.__all__
        if name != "Logger"
    }


def make_loggers(wanted: Sequence[Mapping[str, Any]], folder: Path) -> list[Logger]:
    """Make loggers.

    Parameters
    ----------
    wanted
        Options of each logger, ``name`` among them.
    folder
        What loggers to files write to.

    Raises
    ------
    AnalysisFileError
        If a name is unknown or an option is refused.
    MissingExtraError
        If what a logger needs is not installed.
    """
    known = known_loggers()
    made = []
    for entry in wanted:
        options = dict(entry)
        name = str(options.pop("name"))
        if name not in known:
            message = f"training.loggers: unknown logger {name!r}; {nearest(name, known)}"
            raise AnalysisFileError(message)
        where: dict[str, Any] = {"save_dir": str(folder)}
        if name in ("csv", "tensorboard"):
            where |= {"name": "", "version": ""}
        try:
            made.append(known[name](**{**where, **options}))
        except ImportError as error:
            reason = str(error).strip().partition("\n")[0]
            message = (
                f"training.loggers: {name} needs what is not installed ({reason}); install it, or "
                "leave the logger out"
            )
            raise MissingExtraError(message) from error
        except TypeError as error:
            message = f"training.loggers: {name} does not take these options ({error})"
            raise AnalysisFileError(message) from error
    return made
