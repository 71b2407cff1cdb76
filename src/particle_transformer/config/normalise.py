"""Short forms of the analysis file spelt out, before validation; wrong types pass through."""

from __future__ import annotations

from typing import Any, NoReturn

from particle_transformer.errors import AnalysisFileError

__all__ = ["normalise"]

SHORT_ERA = "all"
"""The label of the only era where the file gives none."""


def normalise(data: dict[Any, Any]) -> dict[Any, Any]:
    """Spell out the short forms: one era, files as a list, one region.

    Parameters
    ----------
    data
        What the YAML file holds; not changed.

    Raises
    ------
    AnalysisFileError
        If a short and a long form are both given.
    """
    plain = dict(data)
    plain["eras"] = _eras(plain)
    plain["processes"] = _processes(plain.get("processes"), plain["eras"])
    plain["variations"] = _variations(plain.get("variations"), plain["eras"])
    plain["regions"], plain["event"] = _regions(plain)
    # Sections left empty in the file take their defaults.
    return {key: value for key, value in plain.items() if value is not None}


def _fail(key: str, message: str) -> NoReturn:
    error = f"{key}: {message}"
    raise AnalysisFileError(error)


def _eras(plain: dict[Any, Any]) -> Any:
    luminosity = plain.pop("luminosity", None)
    eras = plain.get("eras")
    if luminosity is None:
        return {SHORT_ERA: {}} if eras is None else eras
    if eras is not None:
        _fail("luminosity", "given beside eras; expected the luminosity of each era there")
    return {SHORT_ERA: {"luminosity": luminosity}}


def _processes(processes: Any, eras: Any) -> Any:
    if not isinstance(processes, dict) or not isinstance(eras, dict):
        return processes
    plain = {}
    for name, process in processes.items():
        plain[name] = process
        if isinstance(process, dict) and "files" in process:
            files = _by_era(process["files"], eras, f"processes.{name}.files")
            plain[name] = {**process, "files": files}
    return plain


def _variations(variations: Any, eras: Any) -> Any:
    if not isinstance(variations, dict) or not isinstance(eras, dict):
        return variations
    plain = {}
    for name, variation in variations.items():
        plain[name] = variation
        for side in ("up", "down"):
            if isinstance(variation, dict) and isinstance(variation.get(side), dict):
                replacements = {
                    key: _by_era(value, eras, f"variations.{name}.{side}.{key}")
                    if str(key).startswith("processes.")
                    else value
                    for key, value in variation[side].items()
                }
                plain[name] = {**plain[name], side: replacements}
    return plain


def _by_era(files: Any, eras: dict[Any, Any], key: str) -> Any:
    if not isinstance(files, str | list):
        return files
    if len(eras) != 1:
        known = ", ".join(map(str, eras))
        _fail(key, f"there are {len(eras)} eras; expected {{era: files}} with era one of {known}")
    return {next(iter(eras)): files}


def _regions(plain: dict[Any, Any]) -> tuple[Any, Any]:
    event, regions = plain.get("event"), plain.get("regions")
    select = None
    if isinstance(event, dict) and "select" in event:
        event = dict(event)
        select = event.pop("select")
        if regions is not None and select is not None:
            _fail("event.select", "given beside regions; expected the selections there")
    if regions is None:
        selection = "True" if select is None else select
        regions = {"signal": {"select": selection, "role": "signal"}}
    return regions, event
