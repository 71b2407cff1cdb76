"""Short forms of the analysis file spelt out, before validation; wrong types pass through."""

from __future__ import annotations

from typing import Any, NoReturn

from particle_transformer.errors import AnalysisFileError

__all__ = ["normalise"]

SHORT_ERA = "all"
"""The label of the only era where the file gives none."""

NOT_YET: dict[tuple[str, ...], str] = {
    ("variations",): "systematic variations are",
    ("eras", "*", "lumi_mask"): "a luminosity mask is",
    ("eras", "*", "trigger"): "a trigger is",
}
"""Keys that the format has room for; an unread key must not look as if it had worked."""


def normalise(data: dict[Any, Any]) -> dict[Any, Any]:
    """Spell out the short forms: one era, files as a list, one region.

    Parameters
    ----------
    data
        What the YAML file holds; not changed.

    Raises
    ------
    AnalysisFileError
        If a short and a long form are both given, or a key is not supported yet.
    """
    _refuse_not_yet(data)
    plain = dict(data)
    plain["eras"] = _eras(plain)
    plain["processes"] = _processes(plain.get("processes"), plain["eras"])
    plain["regions"], plain["event"] = _regions(plain)
    # Sections left empty in the file take their defaults.
    return {key: value for key, value in plain.items() if value is not None}


def _fail(key: str, message: str) -> NoReturn:
    error = f"{key}: {message}"
    raise AnalysisFileError(error)


def _refuse_not_yet(data: dict[Any, Any]) -> None:
    for pattern, what in NOT_YET.items():
        found: list[tuple[str, Any]] = [("", data)]
        for part in pattern:
            found = [
                (f"{key}.{name}".lstrip("."), below)
                for key, value in found
                if isinstance(value, dict)
                for name, below in value.items()
                if part in ("*", name)
            ]
        if found:
            _fail(found[0][0], f"{what} not supported yet; remove the key")
    weights = data.get("weights")
    for name, value in weights.items() if isinstance(weights, dict) else ():
        if isinstance(value, dict):
            _fail(f"weights.{name}", "corrections are not supported yet; expected a branch")
    source = data.get("source")
    if isinstance(source, dict) and source.get("format") in ("delphes", "hdf5"):
        _fail("source.format", f"{source['format']} is not supported yet")


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
        if isinstance(process, dict) and isinstance(process.get("files"), str | list):
            if len(eras) != 1:
                known = ", ".join(map(str, eras))
                _fail(
                    f"processes.{name}.files",
                    f"there are {len(eras)} eras; expected {{era: files}} with era one of {known}",
                )
            plain[name] = {**process, "files": {next(iter(eras)): process["files"]}}
    return plain


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
